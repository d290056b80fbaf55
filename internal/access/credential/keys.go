package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of keys.
const (
	minSecret  = 32 // bytes; what HS256 gives, and beyond guessing
	maxSecrets = 2  // the one in use and the one before or after it
	maxPEMKeys = 8
	minRSA     = 2048 // bits
	maxRSA     = 8192 // bits; beyond, one signature takes a core for milliseconds
)

// algorithm is one that credentials may be signed with.
type algorithm struct {
	method jwt.SigningMethod // the mathematics
	// takes reports whether a key is for it. A signing method by itself takes
	// each EC key, whatever its curve.
	takes func(key any) bool
}

// algorithms are all, by their names in headers. "none" is not among them.
var algorithms = map[string]*algorithm{
	"HS256": {jwt.SigningMethodHS256, isSecret},
	"HS384": {jwt.SigningMethodHS384, isSecret},
	"HS512": {jwt.SigningMethodHS512, isSecret},
	"RS256": {jwt.SigningMethodRS256, isRSA},
	"RS384": {jwt.SigningMethodRS384, isRSA},
	"RS512": {jwt.SigningMethodRS512, isRSA},
	"PS256": {jwt.SigningMethodPS256, isRSA},
	"PS384": {jwt.SigningMethodPS384, isRSA},
	"PS512": {jwt.SigningMethodPS512, isRSA},
	"ES256": {jwt.SigningMethodES256, isOn(elliptic.P256())},
	"ES384": {jwt.SigningMethodES384, isOn(elliptic.P384())},
	"ES512": {jwt.SigningMethodES512, isOn(elliptic.P521())},
	"EdDSA": {jwt.SigningMethodEdDSA, isEd25519},
}

func isSecret(key any) bool  { _, ok := key.([]byte); return ok }
func isRSA(key any) bool     { _, ok := key.(*rsa.PublicKey); return ok }
func isEd25519(key any) bool { _, ok := key.(ed25519.PublicKey); return ok }

func isOn(curve elliptic.Curve) func(key any) bool {
	return func(key any) bool {
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

// signed reports whether key has signed s.
func (a *algorithm) signed(s *signed, key any) bool {
	return a.method.Verify(s.text, s.signature, key) == nil
}

// ring is what one project's credentials are checked with.
type ring struct {
	fixed  atomic.Pointer[[]any] // secrets ([]byte) and public keys of the settings; never nil
	remote *remote               // nil without a key set
}

// verify checks who has signed s. Its error is a *RefusedError.
func (r *ring) verify(ctx context.Context, s *signed) error {
	a := algorithms[s.alg]
	if a == nil {
		return refuse(ReasonAlgorithm, "none that is known")
	}
	tried := false
	for _, key := range *r.fixed.Load() {
		if a.takes(key) {
			tried = true
			if a.signed(s, key) {
				return nil
			}
		}
	}
	if r.remote != nil && !a.takes([]byte(nil)) {
		key, err := r.remote.find(ctx, s.kid, s.alg)
		if err != nil {
			return err
		}
		if a.signed(s, key) {
			return nil
		}
		tried = true
	}
	if !tried {
		return refuse(ReasonAlgorithm, "no key for it")
	}
	return refuse(ReasonSignature, "")
}

// readKeys reads the keys of the settings. Its errors repeat nothing of them.
func readKeys(k *Keys) ([]any, error) {
	var keys []any
	if len(k.Secrets) > maxSecrets {
		return nil, fmt.Errorf("jwt-secret: want at most %d, the new one and the one before", maxSecrets)
	}
	for _, secret := range k.Secrets {
		if len(secret) < minSecret {
			return nil, errShortSecret
		}
		if strings.Contains(secret, "-----BEGIN") {
			return nil, errors.New("jwt-secret: that is a key in PEM; a public one belongs in jwt-public-key-file")
		}
		keys = append(keys, []byte(secret))
	}
	n := len(keys)
	for _, text := range k.PublicKeyPEMs {
		read, err := readPEM([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("jwt-public-key-file: %w", err)
		}
		keys = append(keys, read...)
	}
	if len(keys)-n > maxPEMKeys {
		return nil, fmt.Errorf("jwt-public-key-file: want at most %d keys", maxPEMKeys)
	}
	return keys, nil
}

var errShortSecret = fmt.Errorf("jwt-secret: want at least %d bytes", minSecret)

// readPEM reads public keys, one after another.
func readPEM(text []byte) ([]any, error) {
	var keys []any
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		var key any
		var err error
		switch {
		case block.Type == "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case block.Type == "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, errors.New("that is a private key; want the public one, and nobody else to have this")
		default:
			return nil, errors.New(`want blocks "PUBLIC KEY" or "RSA PUBLIC KEY"`)
		}
		if err != nil {
			return nil, errors.New("a key in it is broken")
		}
		if err := checkPublic(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || strings.TrimSpace(string(text)) != "" {
		return nil, errors.New("want public keys in PEM, and nothing else")
	}
	return keys, nil
}

// checkPublic refuses a public key that no algorithm here takes, or that is too
// weak, or too large.
func checkPublic(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("want RSA keys of %d to %d bits", minRSA, maxRSA)
		}
		if k.E < 3 || k.E%2 == 0 {
			return errors.New("want RSA keys with an odd exponent from 3")
		}
		return nil
	case *ecdsa.PublicKey, ed25519.PublicKey:
		for _, a := range algorithms {
			if a.takes(key) {
				return nil
			}
		}
	}
	return errors.New("want RSA, EC (P-256, P-384, P-521) or Ed25519 keys")
}
