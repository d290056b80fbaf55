package project

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ParseSecret returns the secret that a setting or a file holds: text without the spaces,
// line ends and byte order mark around it, which editors, shells and Kubernetes leave there.
// It refuses texts that are hardly the secret that was meant, such as one in quotes: such a
// mistake would otherwise show only as refused credentials. Its errors repeat nothing of the
// text.
func ParseSecret(text string) (string, error) {
	secret := strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	last := len(secret) - 1
	switch {
	case secret == "":
		return "", errors.New("is empty")
	case !utf8.ValidString(secret) || strings.Contains(secret, "\x00"):
		return "", errors.New("is not text in UTF-8; want a secret such as openssl rand -hex 32 makes")
	case last > 0 && (secret[0] == '"' || secret[0] == '\'') && secret[0] == secret[last]:
		return "", errors.New("is in quotes; leave them out")
	case strings.ContainsAny(secret, "\r\n") && !strings.Contains(secret, "-----BEGIN"): // PEM has errors of its own
		return "", errors.New("has several lines; want one")
	}
	return secret, nil
}
