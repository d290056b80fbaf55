package credential

import (
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxCredential is how many bytes a credential may have.
const MaxCredential = 8 << 10

// signed is a credential taken apart. None of it is known to be true.
type signed struct {
	text      string // the part that is signed: header.payload
	claims    []byte // JSON
	signature []byte
	header    struct {
		Alg  *string        `json:"alg"`
		Kid  string         `json:"kid"`
		Crit jsontext.Value `json:"crit"`
	}
}

// segments are base64url as JWTs have it: no padding, and one form for each value.
var segments = base64.RawURLEncoding.Strict()

// parse takes a credential apart. Its error is a *RefusedError. What was read of the header
// is there beside an error.
func parse(credential string) (*signed, error) {
	s := &signed{}
	switch {
	case credential == "":
		return s, refuse(ReasonMissing, "")
	case len(credential) > MaxCredential:
		return s, refuse(ReasonTooLong, "")
	case strings.ContainsAny(credential, "\r\n"): // base64 would skip them
		return s, refuse(ReasonMalformed, "line breaks")
	}
	parts := strings.SplitN(credential, ".", 4)
	if len(parts) != 3 {
		return s, refuse(ReasonMalformed, "want three parts")
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
	case s.header.Crit != nil: // no extension is known here
		return s, refuse(ReasonCriticalHeader, "")
	case s.header.Alg == nil:
		return s, refuse(ReasonMalformed, "header: has no alg")
	}
	return s, nil
}
