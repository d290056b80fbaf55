package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// maxSetKeys is the largest number of keys in a key set.
const maxSetKeys = 100

// keySet has the usable keys of a JWKS. It is immutable.
type keySet struct {
	keys    []setKey
	leftOut int
}

type setKey struct {
	kid string // may be empty
	alg string // if not empty, the key is for this algorithm only
	key any
}

// readKeySet parses a JWKS and skips unusable keys. It returns an error if no usable key remains.
func readKeySet(text []byte) (*keySet, error) {
	var body struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Keys == nil {
		return nil, errors.New("the answer is no key set")
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
	case len(body.Keys) == 0: // an identity provider that is starting may publish an empty set for a moment
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
		m.KTY == jwkset.KtyOct, m.K != "", m.D != "": // symmetric and private keys, which must not be in a public key set
		return setKey{}, errors.New("not a public key for signatures")
	}
	// This drops the certificates that come with a key, since only the key itself is used.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipKeyOps: true})
	if err != nil {
		return setKey{}, err
	}
	return setKey{m.KID, m.ALG.String(), jwk.Key()}, checkPublic(jwk.Key())
}

// These are the errors of the method `pick`.
var (
	errNotInSet  = refuse(ReasonUnknownKey, "not in the key set")
	errAmbiguous = refuse(ReasonUnknownKey, "names none, and the key set has several")
	errMisfit    = refuse(ReasonAlgorithm, "not what its key is for")
)

// pick returns the key with which to verify a credential. kid may be empty if only one key fits the
// method. Of several keys with the same id and algorithm it takes the first. s is nil before the
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
		switch fits := takes(method, k.key) && (k.alg == "" || k.alg == method.Alg()); {
		case fits && named:
			return k.key, nil
		case fits && found != nil:
			return nil, errAmbiguous
		case fits:
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
