// Package hooktest is the other end of signed requests, for tests: the customer's
// back end. It verifies them with the library that docs/build/events.md recommends.
package hooktest

import (
	"encoding/base64"
	"net/http"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Verify reports what is wrong with a request that was received now. secret is the
// node's setting; body is the request's body as it came.
func Verify(secret string, header http.Header, body []byte) error {
	w, err := standardwebhooks.NewWebhook(LibrarySecret(secret))
	if err != nil {
		return err
	}
	return w.Verify(body, header)
}

// LibrarySecret is a node's secret as libraries of Standard Webhooks take it: text
// that does not begin with whsec_ is given to them in base64.
func LibrarySecret(secret string) string {
	if strings.HasPrefix(secret, "whsec_") {
		return secret
	}
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))
}
