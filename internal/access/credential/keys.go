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

	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecret  = 32 // bytes; RFC 7518 requires at least the size of the output of HS256
	maxSecrets = 2  // while an operator changes the secret, the old and the new one are valid
	maxPEMKeys = 8
	minRSA     = 2048 // bits
	maxRSA     = 8192 // bits; each verification with a larger key would take milliseconds
)

// fits reports whether a signing method may use a key. It checks an EC key's curve, since the JWT library does not. No
// key may be used with the method "none".
func fits(method jwt.SigningMethod, key any) bool {
	ok := false
	switch m := method.(type) {
	case *jwt.SigningMethodHMAC:
		_, ok = key.([]byte)
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		_, ok = key.(*rsa.PublicKey)
	case *jwt.SigningMethodECDSA:
		k, isEC := key.(*ecdsa.PublicKey)
		ok = isEC && k.Params().BitSize == m.CurveBits
	case *jwt.SigningMethodEd25519:
		_, ok = key.(ed25519.PublicKey)
	}
	return ok
}

// verify checks the signature of s. The list `fixed` has the configured secrets ([]byte) and public keys; r is the
// project's key set, or nil if the project has none. The error is a *RefusedError.
func (s *signed) verify(ctx context.Context, fixed []any, r *remote) error {
	method := jwt.GetSigningMethod(*s.header.Alg)
	tried := false
	for _, key := range fixed {
		if fits(method, key) {
			tried = true
			if method.Verify(s.text, s.signature, key) == nil {
				return nil
			}
		}
	}
	_, secret := method.(*jwt.SigningMethodHMAC)
	if r != nil && method != nil && !secret {
		key, err := r.find(ctx, s.header.Kid, method)
		if err != nil {
			return err
		}
		if method.Verify(s.text, s.signature, key) == nil {
			return nil
		}
		tried = true
	}
	if !tried {
		return refuse(ReasonAlgorithm, "no key has this algorithm")
	}
	return refuse(ReasonSignature, "")
}

// readKeys parses the configured secrets and public keys. Its errors contain no part of a key.
func readKeys(k *Keys) ([]any, error) {
	var keys []any
	if len(k.Secrets) > maxSecrets {
		return nil, fmt.Errorf("jwt-secret: want at most %d, the new one and the one before", maxSecrets)
	}
	for _, secret := range k.Secrets {
		if err := CheckSecret(secret); err != nil {
			return nil, fmt.Errorf("jwt-secret: %w", err)
		}
		keys = append(keys, []byte(secret))
	}
	secrets := len(keys)
	for _, text := range k.PublicKeyPEMs {
		read, err := readPEM([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("jwt-public-key-file: %w", err)
		}
		keys = append(keys, read...)
	}
	if len(keys)-secrets > maxPEMKeys {
		return nil, fmt.Errorf("jwt-public-key-file: want at most %d keys", maxPEMKeys)
	}
	return keys, nil
}

// CheckSecret returns an error if a secret is unsuitable. The error does not contain the secret.
func CheckSecret(secret string) error {
	switch {
	case strings.Contains(secret, "-----BEGIN"):
		return errors.New("is a key in PEM; want a secret here, and a public key in jwt-public-key-file")
	case len(secret) < minSecret:
		return fmt.Errorf("has %d bytes; want at least %d, for example from openssl rand -hex 32", len(secret), minSecret)
	}
	return nil
}

// CheckPublicKeys returns an error if the text of a public key file is invalid.
func CheckPublicKeys(text []byte) error {
	_, err := readPEM(text)
	return err
}

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
			return nil, errors.New("contains a private key; want the public key. Keep the private key where credentials are signed")
		default:
			return nil, errors.New(`want blocks "PUBLIC KEY" or "RSA PUBLIC KEY"`)
		}
		if err != nil {
			return nil, errors.New("one of its keys is malformed")
		}
		if err := checkPublic(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || strings.TrimSpace(string(text)) != "" {
		return nil, errors.New(`want public keys in PEM ("-----BEGIN PUBLIC KEY-----"), and nothing else`)
	}
	return keys, nil
}

// checkPublic returns an error for a public key that no supported algorithm can use, or whose size
// is outside the limits.
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
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P224() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return errors.New("want RSA, EC (P-256, P-384, P-521) or Ed25519 keys")
}
