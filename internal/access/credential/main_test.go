package credential

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"refresher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appA = "0123456789abcdef0123456789abcdef"
	appB = "fedcba9876543210fedcba9876543210"

	secretA = "the secret of project A, of 32 bytes or more"
	secretB = "the secret of project B, of 32 bytes or more"
)

// Each key is made only once, because making an RSA key is slow.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaOther = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaWeak  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ecOther  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ec384    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ec224    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicPEM(key crypto.Signer) string {
	der := must(x509.MarshalPKIXPublicKey(key.Public()))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// claimsWith returns valid claims with some changes; nil removes a claim.
func claimsWith(extra map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ana", "exp": time.Now().Add(time.Hour).Unix(), "app": appA}
	maps.Copy(c, extra)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a credential. An empty kid is left out of its header.
func sign(alg, kid string, key any, claims jwt.MapClaims) string {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims)
	if kid != "" {
		t.Header["kid"] = kid
	}
	return must(t.SignedString(key))
}

// signText makes a credential from the text of a header and of claims, without checking them.
func signText(header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(must(jwt.SigningMethodHS256.Sign(text, []byte(secretA))))
}

// stand has a Verifier, its metrics and its log.
type stand struct {
	*Verifier
	registry *prometheus.Registry
	log      bytes.Buffer // tests read it only while no goroutine of the Verifier runs
}

func newStand(t testing.TB, c Config) *stand {
	t.Helper()
	s := &stand{registry: prometheus.NewRegistry()}
	c.Registerer = s.registry
	c.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	s.Verifier = must(New(c))
	return s
}

// one returns the Config of a service whose only project is A.
func one(k Keys) Config { return Config{Projects: []Project{{App: appA, Keys: k}}} }

// run runs the Verifier until the function `stop` is called, or the test ends.
func (s *stand) run(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// refuses checks the error and the metric of a credential that Verify must refuse. It returns the error's Detail.
func (s *stand) refuses(t testing.TB, credential string, why Reason) (detail string) {
	t.Helper()
	before := s.count(string(why))
	c, err := s.Verify(context.Background(), credential)
	r, ok := errors.AsType[*RefusedError](err)
	if !ok || r.Reason != why || c.App != "" {
		t.Fatalf("have %+v, reason %+v, want %s", c, r, why)
	}
	want := session.CodeUnauthenticated
	if why == ReasonKeysUnavailable {
		want = session.CodeUnavailable
	}
	if told, _ := errors.AsType[*session.Error](err); told.Code != want || s.count(string(why)) != before+1 {
		t.Fatalf("callers are told %v, want code %s; counted %v times", told, want, s.count(string(why))-before)
	}
	return r.Detail
}

func (s *stand) takes(t testing.TB, credential string) session.Caller {
	t.Helper()
	c, err := s.Verify(context.Background(), credential)
	if err != nil {
		t.Fatalf("refused: %#v", err)
	}
	return c
}

// check calls the method `refuses`, or for an empty reason the method `takes`.
func (s *stand) check(t testing.TB, credential string, why Reason) session.Caller {
	t.Helper()
	if why == "" {
		return s.takes(t, credential)
	}
	s.refuses(t, credential, why)
	return session.Caller{}
}

// count returns the value of refresher_credentials_total for an outcome.
func (s *stand) count(outcome string) float64 {
	return testutil.ToFloat64(s.metrics.credentials.WithLabelValues(outcome))
}

// jwk returns the public key of a key pair as an entry of a key set, with some changes; nil removes a member.
func jwk(kid string, key crypto.Signer, extra map[string]any) map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kid": kid}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point := must(k.Bytes())
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	maps.Copy(m, extra)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

func jwks(keys ...map[string]any) string {
	return string(must(json.Marshal(map[string]any{"keys": keys})))
}

// endpoint fakes the HTTP transport to a key set's endpoint. It is safe for concurrent use.
type endpoint struct {
	mu      sync.Mutex
	body    string // guarded by mu; if it is empty, requests fail
	fetches int    // guarded by mu
	delay   time.Duration
}

func (e *endpoint) set(body string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.body = body
}

func (e *endpoint) fetched() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fetches
}

func (e *endpoint) RoundTrip(q *http.Request) (*http.Response, error) {
	select {
	case <-time.After(e.delay):
	case <-q.Context().Done():
		return nil, q.Context().Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fetches++
	if e.body == "" {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(e.body)), Request: q}, nil
}

func withSet() Config { return one(Keys{JWKSURL: "https://login.example.com/keys?hidden=1"}) }

func newSetStand(t testing.TB, c Config, e *endpoint) *stand {
	t.Helper()
	s := newStand(t, c)
	s.client.Transport = e
	return s
}
