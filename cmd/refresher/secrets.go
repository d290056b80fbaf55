package main

import (
	"fmt"
	"os"

	"refresher/internal/project"
)

// secretSetting is a setting that is given as it is, or in a file.
type secretSetting struct {
	name, fileName string // as errors call the two
	value          *string
	file           string
}

func errBothSet(one, other string) error {
	return fmt.Errorf("%s and %s are both set; want one of them", one, other)
}

// resolveSecrets reads the files of secrets. Each secret is in its value then, without the
// space around it. A secret that is not set stays empty.
func resolveSecrets(settings ...secretSetting) error {
	for _, s := range settings {
		if err := s.resolve(); err != nil {
			return err
		}
	}
	return nil
}

// where says in which setting, and in which file, the secret stands.
func (s *secretSetting) where() string {
	if s.file != "" {
		return s.fileName + ": " + s.file
	}
	return s.name
}

func (s *secretSetting) resolve() error {
	text := *s.value
	switch {
	case text != "" && s.file != "":
		return errBothSet(s.name, s.fileName)
	case s.file != "":
		content, err := os.ReadFile(s.file)
		if err != nil {
			return fmt.Errorf("%s: %w", s.fileName, err)
		}
		text = string(content)
	case text == "":
		return nil
	}
	secret, err := project.ParseSecret(text)
	if err != nil {
		return fmt.Errorf("%s: %w", s.where(), err)
	}
	*s.value = secret
	return nil
}

// flagged is the setting of a flag, and of the same flag with -file.
func flagged(flag string, value *string, file string) secretSetting {
	return secretSetting{flag, flag + "-file", value, file}
}
