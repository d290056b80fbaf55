package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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
