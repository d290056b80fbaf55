package credential

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
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
		keys int
		want string // part of the error; empty if there is none
	}{
		"one":            {publicPEM(ecKey()), 1, ""},
		"several":        {"\n" + publicPEM(ecKey()) + "\n" + publicPEM(edKey()) + pkcs1 + "\n", 3, ""},
		"empty":          {"", 0, "want public keys in PEM"},
		"no PEM":         {"hidden", 0, "want public keys in PEM"},
		"more after it":  {publicPEM(ecKey()) + "hidden", 0, "and nothing else"},
		"private":        {block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ecKey()))), 0, "holds a private key"},
		"private, PKCS8": {block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey()))), 0, "holds a private key"},
		"certificate":    {block("CERTIFICATE", []byte("hidden")), 0, "want blocks"},
		"broken":         {block("PUBLIC KEY", []byte("hidden")), 0, "broken"},
		"weak RSA":       {publicPEM(rsaWeak()), 0, "2048 to 8192 bits"},
		"even exponent":  {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(even)), 0, "odd exponent"},
		"P-224":          {publicPEM(ec224()), 0, "P-256"},
		"good and weak":  {publicPEM(ecKey()) + publicPEM(rsaWeak()), 0, "2048 to 8192 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := readPEM([]byte(c.text))
			if c.want == "" {
				if err != nil || len(keys) != c.keys {
					t.Errorf("have %d keys, %v", len(keys), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
	if _, err := readKeys(&Keys{PublicKeyPEMs: []string{strings.Repeat(publicPEM(ecKey()), maxPEMKeys+1)}}); err == nil {
		t.Error("nine keys were taken")
	}
}

// noKeySets returns bodies without a usable key set, which a faulty endpoint may send with status
// 200.
func noKeySets() []string {
	set := setOf("one")
	return []string{
		``, `{}`, `[]`, `null`, `{"keys":null}`, `{"keys":{}}`, `<html>`, `{"error":"overloaded"}`,
		set[:len(set)-1], set[:len(set)/2],
		strings.TrimSuffix(strings.TrimPrefix(set, `{"keys":`), `}`), // only the list of keys, without the object around it
		strings.Replace(set, `"keys"`, `"data"`, 1),
		`{"keys":[]}`, `{"keys":[null,1,"a"]}`, `{"keys":[{}]}`,
		jwks(jwk("one", rsaKey(), map[string]any{"use": "enc"}), jwk("two", ecKey(), map[string]any{"use": "enc"})),
		jwks(jwk("one", rsaWeak(), nil)),
		jwks(jwk("one", ecKey(), map[string]any{"d": "AAAA"})),
	}
}

func TestReadKeySet(t *testing.T) {
	secret := map[string]any{"kid": "s", "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}
	broken := jwk("b", ecKey(), map[string]any{"x": "AAAA"})
	for name, c := range map[string]struct {
		key  map[string]any
		good bool
	}{
		"RSA":             {jwk("a", rsaKey(), nil), true},
		"EC":              {jwk("a", ecKey(), nil), true},
		"Ed25519":         {jwk("a", edKey(), nil), true},
		"use sig":         {jwk("a", ecKey(), map[string]any{"use": "sig"}), true},
		"key_ops verify":  {jwk("a", ecKey(), map[string]any{"key_ops": []string{"verify", "odd"}}), true},
		"alg":             {jwk("a", rsaKey(), map[string]any{"alg": "PS256"}), true},
		"certificate":     {jwk("a", ecKey(), map[string]any{"x5c": []string{"broken"}, "x5t": "b", "x5u": "http://b"}), true},
		"unknown member":  {jwk("a", ecKey(), map[string]any{"issuer": "b"}), true},
		"use enc":         {jwk("a", rsaKey(), map[string]any{"use": "enc"}), false},
		"use odd":         {jwk("a", rsaKey(), map[string]any{"use": "odd"}), false},
		"use a number":    {jwk("a", rsaKey(), map[string]any{"use": 1}), false},
		"key_ops sign":    {jwk("a", ecKey(), map[string]any{"key_ops": []string{"sign"}}), false},
		"key_ops none":    {jwk("a", ecKey(), map[string]any{"key_ops": []string{}}), false},
		"symmetric":       {secret, false},
		"RSA with k":      {jwk("a", rsaKey(), map[string]any{"k": "AAAA"}), false},
		"private":         {jwk("a", ecKey(), map[string]any{"d": "AAAA"}), false},
		"off its curve":   {broken, false},
		"P-224":           {jwk("a", ec224(), nil), false},
		"weak RSA":        {jwk("a", rsaWeak(), nil), false},
		"RSA without n":   {jwk("a", rsaKey(), map[string]any{"n": nil}), false},
		"RSA exponent 1":  {jwk("a", rsaKey(), map[string]any{"e": "AQ"}), false},
		"RSA exponent 2":  {jwk("a", rsaKey(), map[string]any{"e": "Ag"}), false},
		"kty unknown":     {jwk("a", ecKey(), map[string]any{"kty": "PQ"}), false},
		"X25519":          {jwk("a", edKey(), map[string]any{"crv": "X25519"}), false},
		"kid not a name":  {jwk("a", ecKey(), map[string]any{"kid": 1}), false},
		"Ed25519, short":  {jwk("a", edKey(), map[string]any{"x": "AAAA"}), false},
		"nothing":         {map[string]any{}, false},
		"not an EC curve": {jwk("a", edKey(), map[string]any{"kty": "EC"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			// A key that is refused does not affect the other key in the set.
			s, err := readKeySet([]byte(jwks(c.key, jwk("z", ecOther(), nil))))
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if c.good {
				want = 2
			}
			if len(s.keys) != want || len(s.keys)+s.leftOut != 2 {
				t.Errorf("%d keys and %d left out, want %d keys", len(s.keys), s.leftOut, want)
			}
		})
	}
	for _, text := range noKeySets() {
		if _, err := readKeySet([]byte(text)); err == nil {
			t.Errorf("%s was taken for a key set", text)
		}
	}
	if _, err := readKeySet([]byte(`{"keys":[` + strings.Repeat("{},", maxSetKeys) + `{}]}`)); err == nil {
		t.Error("a set with too many keys was taken")
	}
}

func TestPick(t *testing.T) {
	s := must(readKeySet([]byte(jwks(
		jwk("rsa", rsaKey(), map[string]any{"alg": "RS256"}), jwk("ec", ecKey(), nil), jwk("", edKey(), nil), jwk("other", rsaOther(), nil),
	))))
	for _, c := range []struct {
		kid, alg string
		key      any
		err      error
	}{
		{"rsa", "RS256", &rsaKey().PublicKey, nil},
		{"other", "PS256", &rsaOther().PublicKey, nil},
		{"ec", "ES256", &ecKey().PublicKey, nil},
		{"", "EdDSA", edKey().Public(), nil},
		{"", "ES256", &ecKey().PublicKey, nil}, // only one key in the set can verify ES256
		{"", "PS256", &rsaOther().PublicKey, nil},
		{"", "RS256", nil, errAmbiguous},
		{"", "ES384", nil, errNotInSet},
		{"rsa", "RS384", nil, errMisfit}, // the key's alg is RS256
		{"rsa", "ES256", nil, errMisfit},
		{"ec", "ES384", nil, errMisfit}, // the key is on another curve
		{"EC", "ES256", nil, errNotInSet},
		{"gone", "ES256", nil, errNotInSet},
	} {
		key, err := s.pick(c.kid, jwt.GetSigningMethod(c.alg))
		if err != c.err { //nolint:errorlint // pick returns these very values.
			t.Errorf("%q %s: %v, want %v", c.kid, c.alg, err, c.err)
		}
		if err == nil && !bytes.Equal(publicBytes(key), publicBytes(c.key)) {
			t.Errorf("%q %s: another key", c.kid, c.alg)
		}
	}
}

func publicBytes(key any) []byte { return must(x509.MarshalPKIXPublicKey(key)) }

func TestUpdate(t *testing.T) {
	s := newStand(t, one(Keys{Secrets: []string{secretA}}))
	of := func(secret, issuer string) string {
		return sign("HS256", "", []byte(secret), claimsWith(map[string]any{"iss": issuer}))
	}
	good := Project{App: appA, Keys: Keys{Secrets: []string{secretB}, PublicKeyPEMs: []string{publicPEM(ecKey())}}, Issuer: "login"}
	for name, c := range map[string]struct {
		second Project
		want   string
	}{
		"another project": {Project{App: appB, Keys: Keys{Secrets: []string{secretB}}}, "there is no project"},
		"none":            {Project{App: appA}, "jwt-secret: is missing"},
		"a short one":     {Project{App: appA, Keys: Keys{Secrets: []string{"short"}}}, "has 5 bytes; want at least 32"},
	} {
		if err := s.Update(good, c.second); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		s.takes(t, of(secretA, "anybody")) // a failed Update changed nothing, although its first project was valid
		s.refuses(t, of(secretB, "login"), ReasonSignature)
	}
	if err := s.Update(good); err != nil {
		t.Fatal(err)
	}
	s.takes(t, of(secretB, "login"))
	s.takes(t, sign("ES256", "", ecKey(), claimsWith(map[string]any{"iss": "login"})))
	s.refuses(t, of(secretB, "anybody"), ReasonIssuer)
	s.refuses(t, of(secretA, "login"), ReasonSignature)
}
