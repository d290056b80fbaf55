package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// maxToken is the length of the longest token that the web SDK accepts, in bytes.
const maxToken = 2047

// keyring has the App ID and the certificates with which tokens are verified.
type keyring struct {
	appID        string
	certificates []string // one or two valid certificates
}

// verify returns the grant of a token whose signature is valid for the App ID, the channel and the user. The caller
// must check whether the grant has expired.
func (k keyring) verify(token string, who identity) (grant, *Error) {
	if len(token) < 1 || len(token) > maxToken {
		return grant{}, invalid("the token is %d bytes long, not 1 to %d", len(token), maxToken)
	}
	switch {
	case strings.HasPrefix(token, "006"):
		return k.verify006(token, who)
	case strings.HasPrefix(token, "007"):
		return k.verify007(token, who)
	}
	return grant{}, invalid("the token's version is neither 006 nor 007")
}

func (k keyring) checkApp(appID string) *Error {
	if appID != k.appID {
		return refuse(CodeInvalidAppID, "the token is for another app")
	}
	return nil
}

// decode decodes base64 strictly. Go's decoder skips line breaks and ignores unused bits by default; some SDKs and
// edges in other languages do not.
func decode(s string) ([]byte, *Error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, invalid("the token is not padded standard base64")
	}
	return raw, nil
}

func sign(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}
