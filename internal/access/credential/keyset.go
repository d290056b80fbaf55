package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const maxSetKeys = 100

// keySet has the usable keys of a JWKS. It is immutable.
type keySet struct {
	keys    []setKey
	leftOut int
}

type setKey struct {
	kid string // empty if the key has no id
	alg string // if it is not empty, the key is only for this algorithm
	key any
}

// readKeySet parses a JWKS and skips unusable keys. It returns an error if no usable key remains.
func readKeySet(text []byte) (*keySet, error) {
	var body struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Keys == nil {
		return nil, errors.New("the answer is not a key set")
	}
	if len(body.Keys) > maxSetKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxSetKeys)
	}
	s := &keySet{}
	for _, raw := range body.Keys {
		if k, err := readSetKey(raw); err == nil {
			s.keys = append(s.keys, k)
		} else {
			s.leftOut++
		}
	}
	switch {
	case len(body.Keys) == 0: // an error keeps the previous set in use: an identity provider may publish an empty set while it starts
		return nil, errors.New("the key set is empty")
	case len(s.keys) == 0:
		return nil, errors.New("the key set has no public key for signatures that is strong enough")
	}
	return s, nil
}

func readSetKey(raw json.RawMessage) (setKey, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return setKey{}, err
	}
	switch {
	case m.USE != "" && m.USE != jwkset.UseSig,
		m.KEYOPS != nil && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify),
		m.KTY == jwkset.KtyOct, m.K != "", m.D != "": // a symmetric or private key, which must not be public
		return setKey{}, errors.New("not a public key for signatures")
	}
	// Only the key itself is used. The certificates beside the key are dropped, since the JWK library would refuse a
	// key with an invalid certificate.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipKeyOps: true})
	if err != nil {
		return setKey{}, err
	}
	return setKey{m.KID, m.ALG.String(), jwk.Key()}, checkPublic(jwk.Key())
}

// The method `pick` returns these errors.
var (
	errNotInSet  = refuse(ReasonUnknownKey, "not in the key set")
	errAmbiguous = refuse(ReasonUnknownKey, "the header has no kid, and the key set has several keys")
	errMisfit    = refuse(ReasonAlgorithm, "its key is for another algorithm")
)

// pick returns the key with which to verify a credential. The kid may be empty if only one key fits the
// method. Of several keys with the same id and algorithm, pick takes the first. The set s is nil before the
// first successful fetch.
func (s *keySet) pick(kid string, method jwt.SigningMethod) (any, error) {
	if s == nil {
		return nil, errNotInSet
	}
	var found any
	named := false
	for _, k := range s.keys {
		if kid != "" && k.kid != kid {
			continue
		}
		named = kid != ""
		switch usable := fits(method, k.key) && (k.alg == "" || k.alg == method.Alg()); {
		case usable && named:
			return k.key, nil
		case usable && found != nil:
			return nil, errAmbiguous
		case usable:
			found = k.key
		}
	}
	switch {
	case found != nil:
		return found, nil
	case named:
		return nil, errMisfit
	default:
		return nil, errNotInSet
	}
}
