// Package hooktest is the receiver of signed requests in tests. It verifies them with the library
// that docs/build/events.md recommends.
package hooktest

import (
	"encoding/base64"
	"net/http"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Verify returns an error if the signature or the timestamp of a received request is wrong.
// secret is the node's setting, and body is the unchanged body of the request.
func Verify(secret string, header http.Header, body []byte) error {
	w, err := standardwebhooks.NewWebhook(LibrarySecret(secret))
	if err != nil {
		return err
	}
	return w.Verify(body, header)
}

// LibrarySecret converts a node's secret to the form of the Standard Webhooks libraries: a secret
// without the prefix whsec_ is encoded in base64.
func LibrarySecret(secret string) string {
	if strings.HasPrefix(secret, "whsec_") {
		return secret
	}
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
}
