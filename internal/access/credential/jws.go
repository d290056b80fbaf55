package credential

import (
	"encoding/base64"
	"errors"
	"strings"
)

// MaxCredential is how many bytes a credential may have.
const MaxCredential = 8 << 10

// signed is a credential taken apart. Nothing of it is known to be true.
type signed struct {
	text      string // what is signed: header.payload
	payload   string // in base64
	signature []byte
	alg       string
	kid       string // empty if it names no key
}

// segments are base64url as JWTs have it: no padding, and one form for each value.
var segments = base64.RawURLEncoding.Strict()

// parse takes a credential apart. Its error is a *RefusedError; beside one about the
// header there is what was read so far.
func parse(credential string) (*signed, error) {
	switch {
	case credential == "":
		return nil, refuse(ReasonMissing, "")
	case len(credential) > MaxCredential:
		return nil, refuse(ReasonTooLong, "")
	case strings.IndexByte(credential, '\n') >= 0 || strings.IndexByte(credential, '\r') >= 0: // base64 would skip them
		return nil, refuse(ReasonMalformed, "line breaks")
	case strings.Count(credential, ".") != 2:
		return nil, refuse(ReasonMalformed, "want three parts")
	}
	second := strings.LastIndexByte(credential, '.')
	s := &signed{text: credential[:second]}
	head, payload, _ := strings.Cut(s.text, ".")
	s.payload = payload
	header, err := segments.DecodeString(head)
	if err != nil {
		return nil, refuse(ReasonMalformed, "header: want base64url")
	}
	if s.signature, err = segments.DecodeString(credential[second+1:]); err != nil {
		return nil, refuse(ReasonMalformed, "signature: want base64url")
	}
	return s, s.readHeader(header)
}

func (s *signed) readHeader(header []byte) error {
	f, err := readDocument(header)
	if err != nil {
		return refuse(ReasonMalformed, "header: "+err.Error())
	}
	if raw, there := f["kid"]; there {
		if s.kid, err = readString(raw); err != nil {
			return refuse(ReasonMalformed, "header: kid: "+err.Error())
		}
	}
	if _, there := f["crit"]; there {
		// Whoever signed it wants it refused by those that don't know the
		// extension, and none is known here.
		return refuse(ReasonCriticalHeader, "")
	}
	if s.alg, err = readString(f["alg"]); err != nil {
		return refuse(ReasonMalformed, "header: alg: "+err.Error())
	}
	return nil
}

// claims decodes the payload.
func (s *signed) claims() (fields, error) {
	payload, err := segments.DecodeString(s.payload)
	if err != nil {
		return nil, refuse(ReasonMalformed, "claims: want base64url")
	}
	f, err := readDocument(payload)
	switch {
	case errors.Is(err, errNoJSON):
		return nil, refuse(ReasonMalformed, "claims: "+err.Error())
	case err != nil:
		return nil, refuse(ReasonClaims, err.Error())
	}
	return f, nil
}

// app is the project that the claims name; there is false if they name none.
func (f fields) app() (app string, there bool, err error) {
	raw, there := f["app"]
	if !there {
		return "", false, nil
	}
	if app, err = readString(raw); err != nil {
		return "", true, refuse(ReasonClaims, "app: "+err.Error())
	}
	return app, true, nil
}
