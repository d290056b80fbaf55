package events

import (
	"net/http"
	"time"

	"refresher/internal/webhook"
)

// The headers of a delivery.
const (
	HeaderEventID   = "Refresher-Event-Id"
	HeaderTimestamp = webhook.HeaderTimestamp // Unix seconds
	HeaderSignature = webhook.HeaderSignature
)

// Verify tells a receiver whether a delivery is genuine: see webhook.Verify.
func Verify(secret []byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	return webhook.Verify(secret, header, body, now, tolerance)
}
