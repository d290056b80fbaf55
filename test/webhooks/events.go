// Package webhooks tests the receivers that docs/build/events.md and docs/build/approval.md show,
// with the requests that a node sends and the libraries that the documents name. It runs by
// go test -tags programs ./test/webhooks.
package webhooks

import (
	"encoding/json"
	"io"
	"net/http"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receive returns a handler that verifies events with secret, and calls act for each.
func receive(secret string, act func(kind, id string)) (http.HandlerFunc, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = webhook.Verify(body, r.Header)
		}
		var event struct{ Type string }
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err != nil {
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		}
		act(event.Type, r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusNoContent)
	}, nil
}
