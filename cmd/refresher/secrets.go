package main

import (
	"fmt"
	"os"

	"refresher/internal/project"
)

// secretSetting is a secret that the user gives as a value or in a file.
type secretSetting struct {
	name, fileName string // for errors: names of the setting for the value and of the setting for the file
	value          *string
	file           string
}

func errBothSet(one, other string) error {
	return fmt.Errorf("%s and %s are both set; want one of them", one, other)
}

// resolveSecrets stores each secret in *value, without surrounding space. If the secret is in a file, resolveSecrets
// reads it from there. A secret that was not given stays empty.
func resolveSecrets(settings ...secretSetting) error {
	for _, s := range settings {
		if err := s.resolve(); err != nil {
			return err
		}
	}
	return nil
}

// where names the setting and the file from which the secret came.
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

// flagged returns the secretSetting of a flag: the file is given by the flag with the suffix -file.
func flagged(flag string, value *string, file string) secretSetting {
	return secretSetting{flag, flag + "-file", value, file}
}
