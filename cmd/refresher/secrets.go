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

// resolveSecrets reads the files of secrets, and leaves each secret in its value, without
// what stands around it. One that is not set stays empty.
func resolveSecrets(settings ...secretSetting) error {
	for _, s := range settings {
		if err := s.resolve(); err != nil {
			return err
		}
	}
	return nil
}

func (s *secretSetting) resolve() error {
	text, name := *s.value, s.name
	switch {
	case text != "" && s.file != "":
		return fmt.Errorf("%s and %s are both set (by a flag or a variable); want one", s.name, s.fileName)
	case s.file != "":
		content, err := os.ReadFile(s.file)
		if err != nil {
			return fmt.Errorf("%s: %w", s.fileName, err)
		}
		text, name = string(content), s.fileName
	case text == "":
		return nil
	}
	secret, err := project.ParseSecret(text)
	if err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	*s.value = secret
	return nil
}

// flagged is the setting of a flag, and of the same flag with -file.
func flagged(flag string, value *string, file string) secretSetting {
	return secretSetting{flag, flag + "-file", value, file}
}
