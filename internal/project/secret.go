package project

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ParseSecret returns the secret in a setting or file. It removes the spaces, line ends and byte order mark
// that editors, shells and Kubernetes add. It refuses a text that is probably not the intended secret, for
// example a text in quotes: otherwise credentials would be refused, and nothing would show the reason. Its errors
// contain no part of the text.
func ParseSecret(text string) (string, error) {
	secret := strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	last := len(secret) - 1
	switch {
	case secret == "":
		return "", errors.New("is empty")
	case !utf8.ValidString(secret) || strings.Contains(secret, "\x00"):
		return "", errors.New("is not UTF-8 text; want a secret, for example from openssl rand -hex 32")
	case last > 0 && (secret[0] == '"' || secret[0] == '\'') && secret[0] == secret[last]:
		return "", errors.New("is in quotes; leave them out")
	case strings.ContainsAny(secret, "\r\n") && !strings.Contains(secret, "-----BEGIN"): // a key in PEM form may have several lines; the PEM parser checks it later
		return "", errors.New("has several lines; want one")
	}
	return secret, nil
}
