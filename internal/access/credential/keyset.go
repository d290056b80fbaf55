package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// maxSetKeys is how many keys a key set may have.
const maxSetKeys = 100

// keySet is what a JWKS held that is of use here. It is immutable.
type keySet struct {
	keys    []setKey
	leftOut int
}

type setKey struct {
	kid string // may be empty
	alg string // the only one that it is for; may be empty
	key any
}

// readKeySet reads a JWKS. One key that is of no use does not spoil the others; a set
// without any that is of use is no key set.
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
	case len(body.Keys) == 0: // as an issuer's store is for a moment while it starts
		return nil, errors.New("the key set is empty")
	case len(s.keys) == 0:
		return nil, errors.New("the key set has no public key for signatures that is strong enough")
	}
	return s, nil
}

// errUseless is why a key is left out of a set.
var errUseless = errors.New("not a public key for signatures")

func readSetKey(raw json.RawMessage) (setKey, error) {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &m); err != nil {
		return setKey{}, err
	}
	switch {
	case m.USE != "" && m.USE != jwkset.UseSig,
		m.KEYOPS != nil && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify),
		m.KTY == jwkset.KtyOct || m.K != "", // a secret that everybody can fetch
		m.D != "":                           // likewise: anybody can sign with it
		return setKey{}, errUseless
	}
	// The key itself counts, not a certificate that comes with it.
	m.X5C, m.X5T, m.X5TS256, m.X5U = nil, "", "", ""
	jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipKeyOps: true})
	if err != nil {
		return setKey{}, err
	}
	return setKey{m.KID, m.ALG.String(), jwk.Key()}, checkPublic(jwk.Key())
}

// What pick may find instead of a key.
var (
	errNotInSet  = refuse(ReasonUnknownKey, "not in the key set")
	errAmbiguous = refuse(ReasonUnknownKey, "names none, and the key set has several")
	errMisfit    = refuse(ReasonAlgorithm, "not what its key is for")
)

// pick returns the one key to check a credential with. A credential may name none
// if there is just one that can be meant. Of several keys of one id and algorithm
// the first counts. s may be nil: nothing was fetched yet.
func (s *keySet) pick(kid, alg string) (any, error) {
	if s == nil {
		return nil, errNotInSet
	}
	a := algorithms[alg]
	var found any
	err := errNotInSet
	for _, k := range s.keys {
		fits := a.takes(k.key) && (k.alg == "" || k.alg == alg)
		switch {
		case kid == "" && fits && found != nil:
			return nil, errAmbiguous
		case kid == "" && fits:
			found = k.key
		case kid != "" && k.kid == kid && fits:
			return k.key, nil
		case kid != "" && k.kid == kid:
			err = errMisfit
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, err
}
