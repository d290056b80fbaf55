// Package hooktest verifies the signatures of webhook requests in tests, with the Standard Webhooks library that
// docs/build/events.md recommends.
package hooktest

import (
	"encoding/base64"
	"net/http"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Verify returns an error if the signature or timestamp of a received request is wrong. The parameter `secret` is the
// secret as configured on the node; `body` is the received body, byte for byte.
func Verify(secret string, header http.Header, body []byte) error {
	w, err := standardwebhooks.NewWebhook(LibrarySecret(secret))
	if err != nil {
		return err
	}
	return w.Verify(body, header)
}

// LibrarySecret converts a configured secret to the form that Standard Webhooks libraries expect: a secret
// without the prefix whsec_ is base64-encoded.
func LibrarySecret(secret string) string {
	if strings.HasPrefix(secret, "whsec_") {
		return secret
	}
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
}
