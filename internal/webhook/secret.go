package webhook

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// secretPrefix begins a secret in the form of the specification: base64 follows.
const secretPrefix = "whsec_"

// How many bytes a key has, by the specification. A secret without secretPrefix
// may be longer: it is text, with less chance in each byte.
const (
	minKey = 24
	maxKey = 64
)

// parseSecret returns the key that requests are signed with. A secret without
// secretPrefix is the key itself. Errors name the flag and repeat nothing of the
// secret.
func parseSecret(flag, secret string) ([]byte, error) {
	encoded, prefixed := strings.CutPrefix(secret, secretPrefix)
	if !prefixed {
		if len(secret) < minKey {
			return nil, fmt.Errorf("%s: want at least %d bytes, have %d", flag, minKey, len(secret))
		}
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: what follows %s is not base64; want that of %d to %d bytes, such as openssl rand -base64 32 makes", flag, secretPrefix, minKey, maxKey)
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("%s: want the base64 of %d to %d bytes behind %s, have that of %d", flag, minKey, maxKey, secretPrefix, len(key))
	}
	return key, nil
}
