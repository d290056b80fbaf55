package credential

import (
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxCredential is the largest length of a credential, in bytes.
const MaxCredential = 8 << 10

// signed has the decoded parts of a credential. Its signature is not verified.
type signed struct {
	text      string // header.payload, the part that is signed
	claims    []byte // JSON
	signature []byte
	header    struct {
		Alg  *string        `json:"alg"`
		Kid  string         `json:"kid"`
		Crit jsontext.Value `json:"crit"`
	}
}

// segments is the base64url encoding of JWTs, without padding. Because of Strict, each value has only one encoding.
var segments = base64.RawURLEncoding.Strict()

// parse decodes a credential. Its error is a *RefusedError. If it fails, it still returns the part of the header that
// it could decode, so that the log can name the key.
func parse(credential string) (*signed, error) {
	s := &signed{}
	switch {
	case credential == "":
		return s, refuse(ReasonMissing, "")
	case len(credential) > MaxCredential:
		return s, refuse(ReasonTooLong, "")
	case strings.ContainsAny(credential, "\r\n"): // package base64 would skip line breaks, so one credential could have several texts
		return s, refuse(ReasonMalformed, "contains line breaks")
	}
	parts := strings.SplitN(credential, ".", 4)
	if len(parts) != 3 {
		return s, refuse(ReasonMalformed, "want three parts, separated by dots")
	}
	s.text = credential[:len(parts[0])+1+len(parts[1])]
	header, err := segments.DecodeString(parts[0])
	if err == nil {
		s.claims, err = segments.DecodeString(parts[1])
	}
	if err == nil {
		s.signature, err = segments.DecodeString(parts[2])
	}
	if err != nil {
		return s, refuse(ReasonMalformed, "want base64url")
	}
	if err := unmarshal(header, &s.header); err != nil {
		return s, refuse(ReasonMalformed, "header: want a JSON object, and in it alg and kid as strings")
	}
	switch {
	case s.header.Crit != nil: // the credential needs an extension, and this service supports none
		return s, refuse(ReasonCriticalHeader, "")
	case s.header.Alg == nil:
		return s, refuse(ReasonMalformed, "header: has no alg")
	}
	return s, nil
}
