package main

import (
	"fmt"
	"os"

	"refresher/internal/project"
)

// secretSetting is a secret that is given either as a value or in a file.
type secretSetting struct {
	name, fileName string // names of the two settings in errors
	value          *string
	file           string
}

func errBothSet(one, other string) error {
	return fmt.Errorf("%s and %s are both set; want one of them", one, other)
}

// resolveSecrets reads the secrets that are given in files and strips the space around all of them.
// Afterwards each secret is in *value; a secret that was not given stays empty.
func resolveSecrets(settings ...secretSetting) error {
	for _, s := range settings {
		if err := s.resolve(); err != nil {
			return err
		}
	}
	return nil
}

// where names the setting that holds the secret, and its file if there is one.
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

// flagged returns the secretSetting of a flag and of the flag with the suffix -file.
func flagged(flag string, value *string, file string) secretSetting {
	return secretSetting{flag, flag + "-file", value, file}
}
