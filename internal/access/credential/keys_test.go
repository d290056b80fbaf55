package credential

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestReadPEM(t *testing.T) {
	pkcs1 := block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey))
	even := &rsa.PublicKey{N: rsaKey().N, E: 65536}
	for name, c := range map[string]struct {
		text string
		want string // part of the error
	}{
		"several":        {"\n" + publicPEM(ecKey()) + "\n" + publicPEM(edKey()) + pkcs1 + "\n", ""},
		"no PEM":         {"hidden", "want public keys in PEM"},
		"more after it":  {publicPEM(ecKey()) + "hidden", "and nothing else"},
		"private":        {block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey()))), "contains a private key"},
		"private, PKCS8": {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))), "contains a private key"},
		"certificate":    {block("CERTIFICATE", []byte("hidden")), "want blocks"},
		"broken":         {block("PUBLIC KEY", []byte("hidden")), "malformed"},
		"even exponent":  {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(even)), "odd exponent"},
		"P-224":          {publicPEM(ec224()), "P-256"},
		"good and weak":  {publicPEM(ecKey()) + publicPEM(rsaWeak()), "2048 to 8192 bits"},
		"too many":       {strings.Repeat(publicPEM(ecKey()), maxPEMKeys+1), "at most 8 keys"},
	} {
		keys, err := readKeys(&Keys{PublicKeyPEMs: []string{c.text}})
		if c.want == "" {
			if err != nil || len(keys) != 3 {
				t.Errorf("%s: %d keys, %v", name, len(keys), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: have %v, want %q", name, err, c.want)
		}
	}
}

func TestSizeOfRSAKeys(t *testing.T) {
	for bits, want := range map[uint]bool{minRSA - 1: false, minRSA: true, maxRSA: true, maxRSA + 1: false} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 3}
		if err := checkPublic(key); (err == nil) != want {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func TestReadKeySet(t *testing.T) {
	symmetric := map[string]any{"kid": "s", "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}
	for name, c := range map[string]struct {
		key    crypto.Signer
		change map[string]any
		good   bool
	}{
		"RSA":            {rsaKey(), nil, true},
		"EC":             {ecKey(), nil, true},
		"Ed25519":        {edKey(), nil, true},
		"use sig":        {ecKey(), map[string]any{"use": "sig"}, true},
		"key_ops verify": {ecKey(), map[string]any{"key_ops": []string{"verify", "odd"}}, true},
		"certificate":    {ecKey(), map[string]any{"x5c": []string{"broken"}, "x5t": "b", "x5u": "http://b"}, true},
		"use enc":        {rsaKey(), map[string]any{"use": "enc"}, false},
		"use a number":   {rsaKey(), map[string]any{"use": 1}, false},
		"key_ops sign":   {ecKey(), map[string]any{"key_ops": []string{"sign"}}, false},
		"key_ops none":   {ecKey(), map[string]any{"key_ops": []string{}}, false},
		"symmetric":      {edKey(), symmetric, false},
		"RSA with k":     {rsaKey(), map[string]any{"k": "AAAA"}, false},
		"private":        {ecKey(), map[string]any{"d": "AAAA"}, false},
		"off its curve":  {ecKey(), map[string]any{"x": "AAAA"}, false},
		"P-224":          {ec224(), nil, false},
		"weak RSA":       {rsaWeak(), nil, false},
		"RSA exponent 3": {rsaKey(), map[string]any{"e": "Aw"}, true},
		"RSA exponent 1": {rsaKey(), map[string]any{"e": "AQ"}, false},
		"RSA exponent 2": {rsaKey(), map[string]any{"e": "Ag"}, false},
		"X25519":         {edKey(), map[string]any{"crv": "X25519"}, false},
	} {
		// A key that is refused does not affect the other key in the set.
		s, err := readKeySet([]byte(jwks(jwk("a", c.key, c.change), jwk("z", ecOther(), nil))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := 1
		if c.good {
			want = 2
		}
		if len(s.keys) != want || s.leftOut != 2-want {
			t.Errorf("%s: %d keys and %d left out, want %d keys", name, len(s.keys), s.leftOut, want)
		}
	}
	for _, text := range []string{
		``, `{}`, `[]`, `{"keys":null}`, `<html>`, `{"error":"overloaded"}`, setOf("one")[:100], `{"keys":[]}`, `{"keys":[null,1,"a",{}]}`,
		jwks(jwk("one", rsaKey(), map[string]any{"use": "enc"}), jwk("two", rsaWeak(), nil)),
		`{"keys":[` + strings.Repeat("{},", maxSetKeys) + `{}]}`,
	} {
		if _, err := readKeySet([]byte(text)); err == nil {
			t.Errorf("%.200s was taken for a key set", text)
		}
	}
}

func TestPick(t *testing.T) {
	s := must(readKeySet([]byte(jwks(
		jwk("rsa", rsaKey(), map[string]any{"alg": "RS256"}), jwk("ec", ecKey(), nil), jwk("", edKey(), nil), jwk("other", rsaOther(), nil),
	))))
	for _, c := range []struct {
		kid, alg string
		key      crypto.Signer
		err      error
	}{
		{"rsa", "RS256", rsaKey(), nil},
		{"other", "PS256", rsaOther(), nil},
		{"ec", "ES256", ecKey(), nil},
		{"", "EdDSA", edKey(), nil},
		{"", "ES256", ecKey(), nil}, // without a key id, the only key of the set for ES256 is taken
		{"", "PS256", rsaOther(), nil},
		{"", "RS256", nil, errAmbiguous},
		{"", "ES384", nil, errNotInSet},
		{"rsa", "RS384", nil, errMisfit}, // the set names RS256 as the algorithm of this key
		{"ec", "ES384", nil, errMisfit},  // the key's curve is P-256, but ES384 needs P-384
		{"EC", "ES256", nil, errNotInSet},
	} {
		key, err := s.pick(c.kid, jwt.GetSigningMethod(c.alg))
		if err != c.err { //nolint:errorlint // pick returns these very values.
			t.Errorf("%q %s: %v, want %v", c.kid, c.alg, err, c.err)
		}
		if err == nil && !key.(interface{ Equal(crypto.PublicKey) bool }).Equal(c.key.Public()) {
			t.Errorf("%q %s: another key", c.kid, c.alg)
		}
	}
}

func TestUpdate(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	of := func(secret, issuer string) string {
		return sign("HS256", "", []byte(secret), claimsWith(map[string]any{"iss": issuer}))
	}
	good := Project{App: appA, Keys: Keys{Secrets: []string{secretB}, PublicKeyPEMs: []string{publicPEM(ecKey())}}, Issuer: "login"}
	for want, second := range map[string]Project{
		"there is no project":           {App: appB, Keys: Keys{Secrets: []string{secretB}}},
		"jwt-secret: is missing":        {App: appA},
		"has 5 bytes; want at least 32": {App: appA, Keys: Keys{Secrets: []string{"short"}}},
	} {
		if err := s.Update(good, second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		s.takes(t, of(secretA, "anybody")) // the settings of the valid project were not replaced either
	}
	if err := s.Update(good); err != nil {
		t.Fatal(err)
	}
	s.takes(t, of(secretB, "login"))
	s.takes(t, sign("ES256", "", ecKey(), claimsWith(map[string]any{"iss": "login"})))
	s.refuses(t, of(secretB, "anybody"), ReasonIssuer)
	s.refuses(t, of(secretA, "login"), ReasonSignature)
}
