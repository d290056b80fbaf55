package apptest

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"maps"
	"testing"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/project"
)

const (
	OtherAppID       = "0123456789abcdef0123456789abcdef"
	OtherCertificate = "fedcba9876543210fedcba9876543210"

	JWTSecret    = "signs credentials of the first project"
	OtherSecret  = "signs credentials of the other project"
	TestAudience = "calls"
	TestIssuer   = "login"
)

// PrivateKey also signs credentials of the first project.
var PrivateKey = ed25519.NewKeyFromSeed([]byte("a seed of exactly 32 bytes, this"))

// PublicKey is PrivateKey's, as PEM.
var PublicKey = func() string {
	der, err := x509.MarshalPKIXPublicKey(PrivateKey.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}()

// WithCredentials makes of a service one that wants credentials.
func WithCredentials(c *app.Config) {
	c.Auth = "jwt"
	c.Projects[0].Keys = credential.Keys{Secrets: []string{JWTSecret}, PublicKeyPEMs: []string{PublicKey}}
	c.Projects[0].Audience, c.Projects[0].Issuer = TestAudience, TestIssuer
}

// TwoProjects has another project beside the first.
func TwoProjects(c *app.Config) {
	WithCredentials(c)
	c.SessionSecret = "seals the keys of both projects"
	c.Projects = append(c.Projects, project.Project{
		AppID: OtherAppID, Certificates: []string{OtherCertificate},
		Keys: credential.Keys{Secrets: []string{OtherSecret}}, Audience: TestAudience,
	})
}

// AllGrants is every grant there is, for those that hold one of the two roles.
func AllGrants() map[string]any {
	return map[string]any{
		"rtc": map[string]any{
			"channels": []any{"*"}, "uids": []any{"*"}, "accounts": []any{"*"}, "roles": []any{"publisher", "subscriber"},
		},
		"rtm": map[string]any{"users": []any{"*"}}, "chat": map[string]any{"users": []any{"*"}},
	}
}

// GoodClaims are good ones of the first project, with some changed; nil takes one out.
func GoodClaims(change map[string]any) map[string]any {
	c := map[string]any{
		"app": AppID, "sub": "ana", "aud": TestAudience, "iss": TestIssuer, "scope": "admin", "grants": AllGrants(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Segment is a part of a JWT: JSON, or a value to make it of.
func Segment(v any) string {
	text, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		text = string(b)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// SignAs makes a credential of a header and claims, as JSON or a value of it.
func SignAs(header, claims any, h func() hash.Hash, secret string) string {
	text := Segment(header) + "." + Segment(claims)
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// SignWith makes a credential of claims, signed with a secret by HS256.
func SignWith(secret string, claims any) string {
	return SignAs(`{"alg":"HS256","typ":"JWT"}`, claims, sha256.New, secret)
}

// Pass is signed by the first project's secret.
func Pass(change map[string]any) string { return SignWith(JWTSecret, GoodClaims(change)) }

// SignEd makes a credential that the first project's private key, or another, has
// signed.
func SignEd(header, claims any, key ed25519.PrivateKey) string {
	text := Segment(header) + "." + Segment(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// AsJSON is JSON of a value.
func AsJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// NextCertificate is the one that testCertificate is replaced by.
const NextCertificate = "0123456789abcdef0123456789ABCDEF"

const (
	NewCertificate   = "00000000000000000000000000000001"
	ThirdCertificate = "00000000000000000000000000000002"
)

// Tenant is a project as its own people know it.
type Tenant struct {
	App, Certificate, secret string
}

// The two projects of TwoProjects.
var (
	FirstTenant  = Tenant{AppID, Certificate, JWTSecret}
	SecondTenant = Tenant{OtherAppID, OtherCertificate, OtherSecret}
)

// Pass is a credential of the project.
func (p *Tenant) Pass(change map[string]any) string {
	c := GoodClaims(change)
	c["app"] = p.App
	return SignWith(p.secret, c)
}

// Owns expects a token to be of this project: its App ID, its signature.
func (p *Tenant) Owns(t *testing.T, what, text string, others ...*Tenant) {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if err := token.Verify(p.Certificate, agora.Holder{}); err != nil || token.AppID != p.App {
		t.Errorf("%s: of %s, %v", what, token.AppID, err)
	}
	for _, other := range others {
		if token.Verify(other.Certificate, agora.Holder{}) == nil {
			t.Errorf("%s: signed by another project", what)
		}
	}
}

// Open joins a call of the project, which stays connected and confirms all it gets.
func (p *Tenant) Open(g *LoggedNode, change map[string]any) *Holder {
	h := &Holder{G: g}
	h.Connect(`{"type":"join","auth":"` + p.Pass(change) + `","rtc":{"channel":"daily","uid":7},"rtm":{"userId":"7"}}`)
	return h
}
