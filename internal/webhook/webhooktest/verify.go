// Package webhooktest is the other end of signed requests, for tests: the customer's
// back end. It knows of signatures what docs/events.md says, and nothing of the code
// that makes them.
package webhooktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verify reports what is wrong with a request that was received now: it must be
// signed, by its timestamp within tolerance of now. body is the request's body as it
// came.
func Verify(secret []byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	timestamp := header.Get("Refresher-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("Refresher-Timestamp: %q, want Unix seconds", timestamp)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	want := "v1=" + hex.EncodeToString(mac.Sum(nil))
	if !slices.Contains(strings.Fields(header.Get("Refresher-Signature")), want) {
		return errors.New("the signature does not fit")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return fmt.Errorf("signed at %d, which is more than %s from now", seconds, tolerance)
	}
	return nil
}
