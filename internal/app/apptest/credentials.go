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

// PrivateKey signs credentials of the first project. The node accepts credentials signed with PrivateKey or JWTSecret.
var PrivateKey = ed25519.NewKeyFromSeed([]byte("a seed of exactly 32 bytes, this"))

// PublicKey is the public key of PrivateKey, as PEM.
var PublicKey = func() string {
	der, err := x509.MarshalPKIXPublicKey(PrivateKey.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}()

// WithCredentials changes the settings so that the node checks credentials.
func WithCredentials(c *app.Config) {
	c.Auth = "jwt"
	c.Projects[0].Keys = credential.Keys{Secrets: []string{JWTSecret}, PublicKeyPEMs: []string{PublicKey}}
	c.Projects[0].Audience, c.Projects[0].Issuer = TestAudience, TestIssuer
}

// TwoProjects adds a second project to the settings.
func TwoProjects(c *app.Config) {
	WithCredentials(c)
	c.SessionSecret = "seals the keys of both projects"
	c.Projects = append(c.Projects, project.Project{
		AppID: OtherAppID, Certificates: []string{OtherCertificate},
		Keys: credential.Keys{Secrets: []string{OtherSecret}}, Audience: TestAudience,
	})
}

// AllGrants returns claims that grant every user and channel, in both roles.
func AllGrants() map[string]any {
	return map[string]any{
		"rtc": map[string]any{
			"channels": []any{"*"}, "uids": []any{"*"}, "accounts": []any{"*"}, "roles": []any{"publisher", "subscriber"},
		},
		"rtm": map[string]any{"users": []any{"*"}}, "chat": map[string]any{"users": []any{"*"}},
	}
}

// GoodClaims returns valid claims of the first project with some changes. A nil value removes a
// claim.
func GoodClaims(change map[string]any) map[string]any {
	c := map[string]any{
		"app": AppID, "sub": "ana", "aud": TestAudience, "iss": TestIssuer, "scope": "admin", "grants": AllGrants(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Segment returns a part of a JWT: a JSON text in base64url. The argument is that text, or a value to encode as JSON.
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

// SignAs makes a credential. The header and the claims may each be a JSON text or a value.
func SignAs(header, claims any, h func() hash.Hash, secret string) string {
	text := Segment(header) + "." + Segment(claims)
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// SignWith makes a credential with these claims, signed with a secret by HS256.
func SignWith(secret string, claims any) string {
	return SignAs(`{"alg":"HS256","typ":"JWT"}`, claims, sha256.New, secret)
}

// Pass returns a valid credential of the first project, with some claims changed.
func Pass(change map[string]any) string { return SignWith(JWTSecret, GoodClaims(change)) }

// SignEd makes a credential signed with an Ed25519 key.
func SignEd(header, claims any, key ed25519.PrivateKey) string {
	text := Segment(header) + "." + Segment(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// AsJSON encodes a value as JSON.
func AsJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// NextCertificate replaces Certificate in tests of the certificate rotation.
const NextCertificate = "0123456789abcdef0123456789ABCDEF"

const (
	NewCertificate   = "00000000000000000000000000000001"
	ThirdCertificate = "00000000000000000000000000000002"
)

// Tenant has the App ID, certificate and credentials of a project.
type Tenant struct {
	App, Certificate, secret string
}

// FirstTenant and SecondTenant are the two projects of TwoProjects.
var (
	FirstTenant  = Tenant{AppID, Certificate, JWTSecret}
	SecondTenant = Tenant{OtherAppID, OtherCertificate, OtherSecret}
)

// Pass returns a valid credential of the project, with some claims changed.
func (p *Tenant) Pass(change map[string]any) string {
	c := GoodClaims(change)
	c["app"] = p.App
	return SignWith(p.secret, c)
}

// Owns checks that a token has this project's App ID, and was signed with its certificate and no other's.
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

// Open joins a session of the project. The client stays connected.
func (p *Tenant) Open(g *LoggedNode, change map[string]any) *Holder {
	h := &Holder{G: g}
	h.Connect(`{"type":"join","auth":"` + p.Pass(change) + `","rtc":{"channel":"daily","uid":7},"rtm":{"userId":"7"}}`)
	return h
}
