package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	HeaderTimestamp = "Refresher-Timestamp" // Unix seconds
	HeaderSignature = "Refresher-Signature"
)

// minSecret is the fewest bytes that a secret may have.
const minSecret = 16

// signaturePrefix names the way of signing.
const signaturePrefix = "v1="

// sign is the signature of one attempt: over its timestamp too, so that what
// somebody recorded cannot be played back later.
func sign(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return signaturePrefix + hex.EncodeToString(mac.Sum(nil))
}

// Verify tells a receiver whether a request is genuine and was signed within
// tolerance of now, before or after. body is the request's body as it came. Its
// error says what is wrong, in words that hold no secret. Signatures are
// compared in constant time.
func Verify(secret []byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	if len(secret) < minSecret {
		return fmt.Errorf("secret: want at least %d bytes, have %d", minSecret, len(secret))
	}
	timestamp, signatures := header.Get(HeaderTimestamp), header.Get(HeaderSignature)
	if timestamp == "" || signatures == "" {
		return fmt.Errorf("not signed: want the headers %s and %s", HeaderTimestamp, HeaderSignature)
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return fmt.Errorf("%s: want Unix seconds", HeaderTimestamp)
	}
	if !signed(signatures, sign(secret, timestamp, body)) {
		return errors.New("the signature does not fit")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
		return fmt.Errorf("signed at %d, which is more than %s from now", seconds, tolerance)
	}
	return nil
}

// signed reports whether want is among signatures.
func signed(signatures, want string) bool {
	for s := range strings.FieldsSeq(signatures) {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}
