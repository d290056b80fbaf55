package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/access/credential"
	"refresher/internal/project"
	"refresher/internal/protocol"
)

const (
	otherAppID       = "0123456789abcdef0123456789abcdef"
	otherCertificate = "fedcba9876543210fedcba9876543210"

	jwtSecret    = "signs credentials of the first project"
	otherSecret  = "signs credentials of the other project"
	testAudience = "calls"
	testIssuer   = "login"
)

// publicKey is of a key that also signs credentials of the first project.
var publicKey, privateKey = func() (string, ed25519.PrivateKey) {
	private := ed25519.NewKeyFromSeed([]byte("a seed of exactly 32 bytes, this"))
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), private
}()

// guard makes of a service one that wants credentials.
func guard(c *Config) {
	c.Auth = "jwt"
	c.Projects[0].Keys = credential.Keys{Secrets: []string{jwtSecret}, PublicKeyPEMs: []string{publicKey}}
	c.Projects[0].Audience, c.Projects[0].Issuer = testAudience, testIssuer
}

// two has another project beside the first.
func two(c *Config) {
	guard(c)
	c.SessionSecret = "seals the keys of both projects"
	c.Projects = append(c.Projects, project.Project{
		AppID: otherAppID, Certificates: []string{otherCertificate},
		Keys: credential.Keys{Secrets: []string{otherSecret}}, Audience: testAudience,
	})
}

// guarded is a service with whoever visits it, and what it writes.
type guarded struct {
	*node
	log     *logText
	level   *slog.LevelVar // of the log
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	network *network // in a bubble
}

// newGuarded runs a service in a bubble, with a network of its own.
func newGuarded(t *testing.T, change func(*Config)) *guarded {
	t.Helper()
	network := &network{ports: make(map[string]*port)}
	g := startGuarded(t, func(c *Config) {
		c.Listen, c.OpsListen = serviceAddress, "127.0.0.1:9090"
		change(c)
	}, Outside{Listen: network.listen}, network.dial)
	g.network = network
	return g
}

func startGuarded(t *testing.T, change func(*Config), world Outside, dial func(context.Context, string, string) (net.Conn, error)) *guarded {
	t.Helper()
	g := &guarded{log: newLogText(), level: new(slog.LevelVar), dial: dial}
	g.node = startWith(t, change, world, slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: g.level})))
	return g
}

// logText is a log that can be read.
type logText struct {
	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	written sync.Cond    // on mu
}

func newLogText() *logText {
	j := &logText{}
	j.written.L = &j.mu
	return j
}

func (j *logText) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written.Broadcast()
	return j.text.Write(p)
}

// await waits until something stands in the log.
func (j *logText) await(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !strings.Contains(j.text.String(), text) {
		j.written.Wait()
	}
}

// take is what was written since it was taken last.
func (j *logText) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// visit requests a path of the public port. A header without a name is left out.
func (g *guarded) visit(method, path, body string, header ...string) (reply, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.app.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	response, err := g.transport().RoundTrip(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header}, string(text)
}

func (g *guarded) transport() *http.Transport {
	return &http.Transport{DialContext: g.dial, DisableKeepAlives: true}
}

// knock opens a WebSocket.
func (g *guarded) knock() *socket {
	g.t.Helper()
	c, _, err := websocket.Dial(g.t.Context(), "ws://"+g.app.Addr().String()+"/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: g.transport()},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{c, g.t}
}

// metrics are the sums of the samples of some metrics, by name, and by name and
// label of those that have one.
func (g *guarded) metrics() map[string]float64 {
	g.t.Helper()
	sums := make(map[string]float64)
	for line := range strings.Lines(g.operations("/metrics")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		x, err := strconv.ParseFloat(value, 64)
		if strings.HasPrefix(name, "refresher_") && err == nil {
			family, labels, _ := strings.Cut(name, "{")
			sums[family] += x
			if labels != "" {
				sums[name] += x
			}
		}
	}
	return sums
}

// operations is what a path of the operations port shows.
func (g *guarded) operations(path string) string {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.app.OpsAddr().String()+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	response, err := g.transport().RoundTrip(r)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

func refusedFor(why credential.Reason) string {
	return `refresher_credentials_total{outcome="` + string(why) + `"}`
}

// allGrants is every grant there is, for those that hold one of the two roles.
func allGrants() map[string]any {
	return map[string]any{
		"rtc": map[string]any{
			"channels": []any{"*"}, "uids": []any{"*"}, "accounts": []any{"*"}, "roles": []any{"publisher", "subscriber"},
		},
		"rtm": map[string]any{"users": []any{"*"}}, "chat": map[string]any{"users": []any{"*"}},
	}
}

// goodClaims are good ones of the first project, with some changed; nil takes one out.
func goodClaims(change map[string]any) map[string]any {
	c := map[string]any{
		"app": testAppID, "sub": "ana", "aud": testAudience, "iss": testIssuer, "scope": "admin", "grants": allGrants(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func segment(v any) string {
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

// signAs makes a credential of a header and claims, as JSON or a value of it.
func signAs(header, claims any, h func() hash.Hash, secret string) string {
	text := segment(header) + "." + segment(claims)
	mac := hmac.New(h, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func signWith(secret string, claims any) string {
	return signAs(`{"alg":"HS256","typ":"JWT"}`, claims, sha256.New, secret)
}

// pass is signed by the first project's secret.
func pass(change map[string]any) string { return signWith(jwtSecret, goodClaims(change)) }

// signEd makes a credential that the first project's private key, or another, has
// signed.
func signEd(header, claims any, key ed25519.PrivateKey) string {
	text := segment(header) + "." + segment(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// defect is a credential that is not to be taken, and why.
type defect struct {
	name   string
	reason credential.Reason // as the log says; empty: it does not come that far
	make   func() string
	header []string // over HTTP, in place of Authorization: Bearer
}

// wrong is a credential that is fine but for some claims.
func wrong(name string, reason credential.Reason, change map[string]any) defect {
	return defect{name: name, reason: reason, make: func() string { return pass(change) }}
}

// defects are those that a service with one project has to see, or with several.
func defects(several bool) []defect {
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	text := func(name string, reason credential.Reason, text string) defect {
		return defect{name: name, reason: reason, make: func() string { return text }}
	}
	made := func(name string, reason credential.Reason, f func() string) defect {
		return defect{name: name, reason: reason, make: f}
	}
	grants := func(name, service, list string, value any) defect {
		g := allGrants()
		if list == "" {
			g[service] = value
		} else {
			g[service].(map[string]any)[list] = value
		}
		return wrong(name, credential.ReasonClaims, map[string]any{"grants": g})
	}
	some := []defect{
		text("none", credential.ReasonMissing, ""),
		text("garbage", credential.ReasonMalformed, "garbage"),
		wrong("another project", credential.ReasonApp, map[string]any{"app": strings.Repeat("5", 32)}),
		made("another project's key", credential.ReasonSignature, func() string { return signWith(otherSecret, goodClaims(nil)) }),
		wrong("app: a number", credential.ReasonClaims, map[string]any{"app": 5}),
		wrong("app: null", credential.ReasonClaims, map[string]any{"app": json.RawMessage("null")}),
		wrong("exp: past", credential.ReasonExpired, map[string]any{"exp": in(-time.Hour)}),
	}
	if several {
		return append(some,
			wrong("no app", credential.ReasonApp, map[string]any{"app": nil}),
			made("the other project, but the first one's key", credential.ReasonSignature, func() string {
				return pass(map[string]any{"app": otherAppID})
			}),
			made("the other project, but the first one's public key", credential.ReasonAlgorithm, func() string {
				return signEd(`{"alg":"EdDSA"}`, goodClaims(map[string]any{"app": otherAppID}), privateKey)
			}),
			made("app twice", credential.ReasonClaims, func() string {
				c := asJSON(goodClaims(nil))
				return signWith(jwtSecret, `{"app":"`+otherAppID+`",`+c[1:])
			}),
			wrong("app: spelled otherwise", credential.ReasonApp, map[string]any{"app": strings.ToLower(testAppID)}),
		)
	}
	return append(some,
		defect{name: "another scheme", reason: credential.ReasonMissing, make: noText, header: []string{"Authorization", "Basic " + pass(nil)}},
		defect{name: "no scheme", reason: credential.ReasonMissing, make: noText, header: []string{"Authorization", pass(nil)}},
		defect{name: "another header", reason: credential.ReasonMissing, make: noText, header: []string{"X-Authorization", "Bearer " + pass(nil)}},
		defect{name: "a cookie", reason: credential.ReasonMissing, make: noText, header: []string{"Cookie", "Authorization=Bearer " + pass(nil)}},
		text("one dot", credential.ReasonMalformed, "a.b"),
		text("nothing but dots", credential.ReasonMalformed, ".."),
		made("four parts", credential.ReasonMalformed, func() string { return pass(nil) + ".x" }),
		made("padded", credential.ReasonMalformed, func() string { return pass(nil) + "=" }),
		made("over 8 KiB", credential.ReasonTooLong, func() string {
			return pass(map[string]any{"x": strings.Repeat("x", 8<<10*3/4)})
		}),
		text("1 MiB", "", strings.Repeat("x", 1<<20)),
		made("a header that is no object", credential.ReasonMalformed, func() string {
			return signAs(`["HS256"]`, goodClaims(nil), sha256.New, jwtSecret)
		}),
		made("kid: a number", credential.ReasonMalformed, func() string {
			return signAs(`{"alg":"HS256","kid":5}`, goodClaims(nil), sha256.New, jwtSecret)
		}),
		made("an extension", credential.ReasonCriticalHeader, func() string {
			return signAs(`{"alg":"HS256","crit":["b64"],"b64":false}`, goodClaims(nil), sha256.New, jwtSecret)
		}),

		made("alg: none", credential.ReasonAlgorithm, func() string { return segment(`{"alg":"none"}`) + "." + segment(goodClaims(nil)) + "." }),
		made("alg: None, but signed", credential.ReasonAlgorithm, func() string {
			return signAs(`{"alg":"None"}`, goodClaims(nil), sha256.New, jwtSecret)
		}),
		made("no alg", credential.ReasonMalformed, func() string { return signAs(`{"typ":"JWT"}`, goodClaims(nil), sha256.New, jwtSecret) }),
		made("alg: one without a key", credential.ReasonAlgorithm, func() string {
			return signAs(`{"alg":"RS256"}`, goodClaims(nil), sha256.New, jwtSecret)
		}),
		made("signed with the text of the public key", credential.ReasonSignature, func() string { return signWith(publicKey, goodClaims(nil)) }),
		made("signed with the bytes of the public key", credential.ReasonSignature, func() string {
			return signWith(string(privateKey.Public().(ed25519.PublicKey)), goodClaims(nil))
		}),
		made("signed by secret, said to be by key", credential.ReasonSignature, func() string {
			return signAs(`{"alg":"EdDSA"}`, goodClaims(nil), sha512.New, jwtSecret)
		}),
		made("signed with a key that it brings along", credential.ReasonSignature, func() string {
			_, own, err := ed25519.GenerateKey(nil)
			if err != nil {
				panic(err)
			}
			x := base64.RawURLEncoding.EncodeToString(own.Public().(ed25519.PublicKey))
			return signEd(`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}}`, goodClaims(nil), own)
		}),
		made("a wrong secret", credential.ReasonSignature, func() string { return signWith(strings.ToUpper(jwtSecret), goodClaims(nil)) }),
		made("no secret", credential.ReasonSignature, func() string { return signWith("", goodClaims(nil)) }),
		made("no signature", credential.ReasonSignature, func() string { c := pass(nil); return c[:strings.LastIndexByte(c, '.')+1] }),
		made("half a signature", credential.ReasonSignature, func() string { c := pass(nil); return c[:len(c)-23] }),
		made("claims changed after it was signed", credential.ReasonSignature, func() string {
			mine, more := strings.Split(pass(map[string]any{"scope": nil}), "."), strings.Split(pass(nil), ".")
			return mine[0] + "." + more[1] + "." + mine[2]
		}),
		made("another hash than it says", credential.ReasonSignature, func() string {
			return signAs(`{"alg":"HS256"}`, goodClaims(nil), sha512.New, jwtSecret)
		}),

		wrong("no exp", credential.ReasonNoExpiry, map[string]any{"exp": nil}),
		made("exp: just over the leeway", credential.ReasonExpired, func() string { return pass(map[string]any{"exp": in(-30 * time.Second)}) }),
		made("nbf: ahead", credential.ReasonNotYetValid, func() string { return pass(map[string]any{"nbf": in(31 * time.Second)}) }),
		made("iat: ahead", credential.ReasonIssuedAhead, func() string { return pass(map[string]any{"iat": in(31 * time.Second)}) }),
		wrong("no aud", credential.ReasonAudience, map[string]any{"aud": nil}),
		wrong("aud: another", credential.ReasonAudience, map[string]any{"aud": "Calls"}),
		wrong("aud: others", credential.ReasonAudience, map[string]any{"aud": []any{"mail", "callsx"}}),
		wrong("aud: nobody", credential.ReasonAudience, map[string]any{"aud": []any{}}),
		wrong("no iss", credential.ReasonIssuer, map[string]any{"iss": nil}),
		wrong("iss: another", credential.ReasonIssuer, map[string]any{"iss": "Login"}),
		wrong("iss: a list", credential.ReasonClaims, map[string]any{"iss": []any{testIssuer}}),

		made("no claims", credential.ReasonNoExpiry, func() string { return signWith(jwtSecret, `{}`) }),
		made("claims: a list", credential.ReasonMalformed, func() string { return signWith(jwtSecret, `[]`) }),
		made("claims: no JSON", credential.ReasonMalformed, func() string { return signWith(jwtSecret, `{"exp":`) }),
		made("exp twice", credential.ReasonClaims, func() string { return signWith(jwtSecret, `{"exp":9999999999,`+asJSON(goodClaims(nil))[1:]) }),
		wrong("exp: a string", credential.ReasonClaims, map[string]any{"exp": "9999999999"}),
		wrong("exp: endless", credential.ReasonClaims, map[string]any{"exp": json.RawMessage("1e300")}),
		wrong("exp: true", credential.ReasonClaims, map[string]any{"exp": true}),
		wrong("nbf: a string", credential.ReasonClaims, map[string]any{"nbf": "0"}),
		wrong("iat: null", credential.ReasonClaims, map[string]any{"iat": json.RawMessage("null")}),
		wrong("aud: a number", credential.ReasonClaims, map[string]any{"aud": 5}),
		wrong("aud: numbers", credential.ReasonClaims, map[string]any{"aud": []any{testAudience, 5}}),
		wrong("sub: a number", credential.ReasonClaims, map[string]any{"sub": 1001}),
		wrong("sub: too long", credential.ReasonClaims, map[string]any{"sub": strings.Repeat("x", 256)}),
		wrong("scope: a list", credential.ReasonClaims, map[string]any{"scope": []any{"admin"}}),
		wrong("scope: true", credential.ReasonClaims, map[string]any{"scope": true}),
		wrong("Scope", credential.ReasonClaims, map[string]any{"Scope": "admin"}),
		wrong("grants: a list", credential.ReasonClaims, map[string]any{"grants": []any{allGrants()}}),
		wrong("grants: a string", credential.ReasonClaims, map[string]any{"grants": asJSON(allGrants())}),
		wrong("Grants beside grants", credential.ReasonClaims, map[string]any{"Grants": allGrants()}),
		grants("rtc: a list", "rtc", "", []any{"*"}),
		grants("rtc: a star", "rtc", "", "*"),
		grants("rtm: null", "rtm", "", json.RawMessage("null")),
		grants("channels: a string", "rtc", "channels", "*"),
		grants("channels: numbers", "rtc", "channels", []any{5}),
		grants("channels: an empty name", "rtc", "channels", []any{""}),
		grants("channels: too many", "rtc", "channels", slices.Repeat([]any{"c"}, 1001)),
		grants("channels: an object", "rtc", "channels", map[string]any{"*": true}),
		grants("Channels beside channels", "rtc", "Channels", []any{"*"}),
		grants("uids: a number", "rtc", "uids", 1001),
		grants("uids: negative", "rtc", "uids", []any{-1}),
		grants("uids: over 32 bits", "rtc", "uids", []any{4294967296}),
		grants("uids: a fraction", "rtc", "uids", []any{1.5}),
		grants("uids: a name", "rtc", "uids", []any{"ana"}),
		grants("accounts: nested", "rtc", "accounts", []any{[]any{"ana"}}),
		grants("roles: unknown", "rtc", "roles", []any{"publisher", "admin"}),
		grants("roles: numbers", "rtc", "roles", []any{1}),
		grants("rtm users: an object", "rtm", "users", map[string]any{}),
		grants("chat users: true", "chat", "users", []any{true}),
		grants("maxTtl: a string", "maxTtl", "", "60"),
		grants("maxTtl: 0", "maxTtl", "", 0),
		grants("maxTtl: negative", "maxTtl", "", -60),
		grants("maxTtl: a fraction", "maxTtl", "", 60.5),
		grants("maxTTL", "maxTTL", "", 60),
		grants("until: a string", "until", "", "2030-01-01T00:00:00Z"),
		grants("until: 0", "until", "", 0),
		grants("until: null", "until", "", json.RawMessage("null")),
	)
}

func noText() string { return "" }

// asJSON is JSON of a value.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// entrance is a way to ask for something that wants a credential. Without a method
// it is the join of a WebSocket. {session} and such stand for ids that there are.
type entrance struct {
	method, path, body string
	admin              bool
}

func (e *entrance) String() string {
	if e.method == "" {
		return "join"
	}
	return e.method + " " + e.path + " " + e.body
}

// entrances are all of them. Those that take something away come last.
var entrances = []entrance{
	{body: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"chat":{"userId":"ana"}`},
	{method: "GET", path: "/rtc/daily/publisher/uid/7"},
	{method: "GET", path: "/rtc/daily/publisher/userAccount/ana/"},
	{method: "GET", path: "/rtm/ana"},
	{method: "HEAD", path: "/rtm/ana"},
	{method: "GET", path: "/rte/daily/publisher/uid/7"},
	{method: "GET", path: "/rte/daily/publisher/uid/7/ana"},
	{method: "GET", path: "/chat/account/ana"},
	{method: "GET", path: "/chat/app", admin: true},
	{method: "POST", path: "/getToken", body: `{"tokenType":"rtc","channel":"daily","role":"publisher","uid":"7"}`},
	{method: "POST", path: "/getToken", body: `{"tokenType":"rtm","uid":"ana"}`},
	{method: "POST", path: "/getToken", body: `{"tokenType":"chat","uid":"ana"}`},
	{method: "POST", path: "/getToken", body: `{"tokenType":"chat"}`, admin: true},
	{method: "POST", path: "/fetch_rtc_token", body: `{"uid":7,"ChannelName":"daily","role":1}`},
	{method: "POST", path: "/fetch_rtc_token_string", body: `{"uid":"ana","ChannelName":"daily","role":1}`},
	{method: "POST", path: "/fetch_rtm_token", body: `{"uid":"ana"}`},
	{method: "GET", path: "/access_token?channelName=daily&uid=7"},
	{method: "GET", path: "/rtcToken?channelName=daily&uid=7"},
	{method: "GET", path: "//rtcToken/?channelName=daily&uid=7"},
	{method: "GET", path: "/rtmToken?account=ana"},
	{method: "GET", path: "/chat/app/token", admin: true},
	{method: "GET", path: "//chat/app/token", admin: true},
	{method: "GET", path: "/chat/user/ana/token"},
	{method: "GET", path: "/v1/sessions", admin: true},
	{method: "GET", path: "/v1/sessions/{session}", admin: true},
	{method: "PATCH", path: "/v1/sessions/{session}", body: `{"rtc":{"role":"publisher"}}`, admin: true},
	{method: "PATCH", path: "/v1/sessions/{session}", body: `{"renew":true}`, admin: true},
	{method: "POST", path: "/v1/revocations", body: `{"channel":"weekly","for":60}`, admin: true},
	{method: "GET", path: "/v1/revocations", admin: true},
	{method: "GET", path: "/v1/revocations/{revocation}", admin: true},
	{method: "GET", path: "/v1/certificates", admin: true},
	{method: "POST", path: "/v1/tokens/inspect", body: `{"token":"007"}`, admin: true},
	{method: "DELETE", path: "/v1/revocations/{revocation}", admin: true},
	{method: "DELETE", path: "/v1/sessions/{session}", admin: true},
}

// reception is what came of going to an entrance.
type reception struct {
	status        int // of HTTP; 200 when a join was taken
	closed        protocol.CloseCode
	code, message string
	header        http.Header
	body          string
	joined        message
}

// enter goes to an entrance with a credential, or with other headers than those
// that have it.
func (g *guarded) enter(e *entrance, ids *strings.Replacer, credential string, header []string) reception {
	g.t.Helper()
	if e.method == "" {
		return g.join(e.body, credential)
	}
	if header == nil && credential != "" {
		header = []string{"Authorization", "Bearer " + credential}
	}
	r, text := g.visit(e.method, ids.Replace(e.path), e.body, header...)
	a := reception{status: r.StatusCode, header: r.Header, body: text}
	var problem struct {
		Error, Code string
		Status      int
	}
	if r.StatusCode != http.StatusOK && e.method != http.MethodHead && r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		if err := json.Unmarshal([]byte(text), &problem); err != nil || problem.Status != r.StatusCode {
			g.t.Errorf("%s: %d %s", e, r.StatusCode, text)
		}
		a.code, a.message = problem.Code, problem.Error
	}
	return a
}

// join tries to open a session, and leaves it when that went well.
func (g *guarded) join(body, credential string) reception {
	g.t.Helper()
	s := g.knock()
	defer func() { _ = s.CloseNow() }()
	// Beside the reading: a message that is too long is never read to its end.
	go func() {
		_ = s.Write(g.t.Context(), websocket.MessageText, []byte(`{"type":"join","auth":"`+credential+`",`+body+`}`))
	}()
	m, closed := s.read()
	a := reception{closed: closed, code: m.Code, message: m.Message, joined: m}
	switch m.Type {
	case protocol.TypeJoined:
		a.status = http.StatusOK
		s.send(`{"type":"leave"}`)
		s.expect(protocol.TypeEnded)
		_, a.closed = s.read()
	case protocol.TypeError:
		if m, a.closed = s.read(); m.Type == protocol.TypeReconnect {
			_, a.closed = s.read()
		}
	default:
		g.t.Errorf("answer %+v", m)
	}
	return a
}

// admin requests something as the first project's operator.
func (g *guarded) admin(method, path, body string, into any) reply {
	g.t.Helper()
	return g.adminWith(pass(map[string]any{"sub": "operator"}), method, path, body, into)
}

func (g *guarded) adminWith(credential, method, path, body string, into any) reply {
	g.t.Helper()
	r, text := g.visit(method, path, body, "Authorization", "Bearer "+credential)
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			g.t.Fatalf("%s %s: %d %s", method, path, r.StatusCode, text)
		}
	}
	return r
}

// furnish has a session and a revocation there, and puts their ids in
// place of their names.
func (g *guarded) furnish() *strings.Replacer {
	g.t.Helper()
	var revocation struct{ ID string }
	g.admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)
	s := g.knock()
	s.send(`{"type":"join","auth":"` + pass(map[string]any{"sub": "resident"}) + `","rtc":{"channel":"daily","uid":1}}`)
	joined := s.expect(protocol.TypeJoined)
	_ = s.CloseNow()        // it stays open without a connection
	time.Sleep(time.Second) // bubble
	return strings.NewReplacer("{session}", joined.Session, "{revocation}", revocation.ID)
}

// longTokens has nothing happen to the session of furnish while time passes.
func longTokens(c *Config) { c.Policy.TTL = 24 * time.Hour }

// untilLogged is how long the log takes to have room for another refusal.
const untilLogged = 6 * time.Second

const (
	needed  = "a credential is needed here"
	invalid = "the credential is not valid here, or has expired; fetch a new one"
)

// TestDefectiveCredentials takes each defect to each entrance. What a caller is told
// is the same for all, the log has the reason, and nothing else happens.
func TestDefectiveCredentials(t *testing.T) {
	for name, several := range map[string]bool{"one project": false, "two projects": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuarded(t, func(c *Config) {
					longTokens(c)
					if guard(c); several {
						two(c)
					}
				})
				ids := g.furnish()
				cases, counted := 0, g.metrics()
				for _, d := range defects(several) {
					for i := range entrances {
						counted = g.refuses(&d, &entrances[i], ids, counted, i%9 == 0) // a join, one for tokens, and one for operators
						cases++
					}
				}
				t.Logf("%d cases refused: %d defects at %d entrances", cases, len(defects(several)), len(entrances))

				// None of that changed anything, and with a good credential all
				// of it works.
				var revocations struct{ Revocations []struct{ Channel string } }
				g.admin("GET", "/v1/revocations", "", &revocations)
				if len(revocations.Revocations) != 1 {
					t.Errorf("revocations: %+v", revocations)
				}
				var resident struct {
					Seq uint64
					RTC struct{ Role string }
				}
				g.admin("GET", ids.Replace("/v1/sessions/{session}"), "", &resident)
				if resident.Seq != 1 || resident.RTC.Role != "subscriber" {
					t.Errorf("the session that was there: %+v", resident)
				}
				g.takes(t, ids)
			})
		})
	}
}

// refuses expects a defect to be found, and returns the metrics after that. logged
// has it wait until the log takes another refusal, and look there too.
func (g *guarded) refuses(d *defect, e *entrance, ids *strings.Replacer, before map[string]float64, logged bool) (after map[string]float64) {
	g.t.Helper()
	if logged {
		time.Sleep(untilLogged) // bubble
	}
	what := d.name + " at " + e.String()
	text := d.make()
	g.log.take()
	a := g.enter(e, ids, text, d.header)
	synctest.Wait()
	after = g.metrics()
	log := g.log.take()

	reason, status, closed, code, message := d.reason, http.StatusUnauthorized, protocol.CloseUnauthenticated, "unauthenticated", invalid
	if reason == credential.ReasonMissing {
		message = needed
	}
	switch overSocket := e.method == ""; {
	case overSocket && len(text) > protocol.MaxMessage-100: // no message has room for it
		reason, closed, code, message = "", protocol.CloseTooLarge, "bad_request", "message too long; want at most 8192 bytes"
	case reason == "": // nor a request
		status, code, message = http.StatusRequestHeaderFieldsTooLarge, "", ""
	}
	switch {
	case e.method == "" && (a.closed != closed || a.code != code || a.message != message):
		g.t.Errorf("%s: %+v", what, a)
	case e.method == http.MethodHead && a.status != status:
		g.t.Errorf("%s: %d", what, a.status)
	case e.method != "" && e.method != http.MethodHead && (a.status != status || a.code != code || a.message != message):
		g.t.Errorf("%s: %d %q %q", what, a.status, a.code, a.message)
	case status == http.StatusUnauthorized && e.method != "" && a.header.Get("WWW-Authenticate") != "Bearer":
		g.t.Errorf("%s: no WWW-Authenticate", what)
	}
	for _, unchanged := range []string{"refresher_tokens_issued_total", "refresher_sessions", "refresher_revocations"} {
		if before[unchanged] != after[unchanged] {
			g.t.Errorf("%s: %s went from %v to %v", what, unchanged, before[unchanged], after[unchanged])
		}
	}
	if reason == "" {
		return after
	}
	if after[refusedFor(reason)]-before[refusedFor(reason)] != 1 || after["refresher_credentials_total"]-before["refresher_credentials_total"] != 1 {
		g.t.Errorf("%s: not counted as %s: %s", what, reason, log)
	}
	if logged && (strings.Count(log, "credential refused") != 1 || !strings.Contains(log, "reason="+string(reason)+" ")) {
		g.t.Errorf("%s: the log does not say %s: %s", what, reason, log)
	}
	if len(text) > 20 && (strings.Contains(log, text) || strings.Contains(log, text[len(text)-20:])) {
		g.t.Errorf("%s: the log has the credential: %s", what, log)
	}
	return after
}

// takes expects that a good credential opens each entrance.
func (g *guarded) takes(t *testing.T, ids *strings.Replacer) {
	t.Helper()
	for i := range entrances {
		e := &entrances[i]
		if a := g.enter(e, ids, pass(nil), nil); a.status != http.StatusOK {
			t.Errorf("a good credential at %s: %+v", e, a)
		}
	}
}

// What is just within the bounds is taken, by whichever key it was signed.
func TestGoodCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) {
			guard(c)
			c.Projects[0].Keys.Secrets = append(c.Projects[0].Keys.Secrets, "the secret before that, still good")
		})
		now := time.Now().Unix()
		for name, text := range map[string]string{
			"the secret before":  signWith("the secret before that, still good", goodClaims(nil)),
			"HS384":              signAs(`{"alg":"HS384"}`, goodClaims(nil), sha512.New384, jwtSecret),
			"HS512":              signAs(`{"alg":"HS512"}`, goodClaims(nil), sha512.New, jwtSecret),
			"the public key":     signEd(`{"alg":"EdDSA","kid":"whichever"}`, goodClaims(nil), privateKey),
			"no app":             pass(map[string]any{"app": nil}),
			"no sub":             pass(map[string]any{"sub": nil}),
			"no iat":             pass(map[string]any{"iat": nil}),
			"exp in the leeway":  pass(map[string]any{"exp": now - 29}),
			"nbf in the leeway":  pass(map[string]any{"nbf": now + 30}),
			"iat in the leeway":  pass(map[string]any{"iat": now + 30}),
			"aud among others":   pass(map[string]any{"aud": []any{"mail", testAudience}}),
			"scope among others": pass(map[string]any{"scope": "read admin write"}),
			"unknown claims":     pass(map[string]any{"tenant": map[string]any{"id": 5}}),
		} {
			for _, i := range []int{0, 1, 14} {
				if a := g.enter(&entrances[i], strings.NewReplacer(), text, nil); a.status != http.StatusOK {
					t.Errorf("%s at %s: %+v", name, &entrances[i], a)
				}
			}
		}
		if r, _ := g.visit("GET", "/ping", ""); r.StatusCode != http.StatusOK {
			t.Errorf("ping without a credential: %d", r.StatusCode)
		}
	})
}

// Who is no operator sees and changes nobody's calls, and gets no token that is not
// a user's.
func TestAdminEntrancesWantTheScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) { guard(c); longTokens(c) })
		ids := g.furnish()
		before := g.metrics()
		cases := 0
		for _, scope := range []any{nil, "", "read", "Admin", "admins", "administrator", "not-admin", "admin,write", "admin\tx", `"admin"`} {
			for i := range entrances {
				e := &entrances[i]
				if !e.admin {
					continue
				}
				cases++
				a := g.enter(e, ids, pass(map[string]any{"scope": scope}), nil)
				if a.status != http.StatusForbidden || a.code != "forbidden" || !strings.Contains(a.message, `the scope "admin"`) {
					t.Errorf("%v at %s: %+v", scope, e, a)
				}
			}
		}
		t.Logf("%d cases refused", cases)
		if after := g.metrics(); after["refresher_tokens_issued_total"] != before["refresher_tokens_issued_total"] ||
			after["refresher_sessions"] != before["refresher_sessions"] || after["refresher_revocations"] != before["refresher_revocations"] {
			t.Error("what was refused was done")
		}
		g.takes(t, ids)
	})
}

// A resume key is no credential, and a credential no resume key.
func TestKeysAndCredentialsAreNotOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, guard)
		s := g.knock()
		s.send(`{"type":"join","auth":"` + pass(nil) + `","rtm":{"userId":"u"}}`)
		joined := s.expect(protocol.TypeJoined)
		for i := range entrances {
			a := g.enter(&entrances[i], strings.NewReplacer("{session}", joined.Session), joined.Key, nil)
			if a.code != "unauthenticated" && entrances[i].method != http.MethodHead {
				t.Errorf("the key at %s: %+v", &entrances[i], a)
			}
		}
		path := "/v1/sessions/" + joined.Session + "/renew"
		if r, text := g.visit("POST", path, "", "Authorization", "Bearer "+pass(nil)); r.StatusCode != http.StatusNotFound {
			t.Errorf("a credential as a key: %d %s", r.StatusCode, text)
		}
		if r, text := g.visit("POST", path, ""); r.StatusCode != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("no key: %d %s", r.StatusCode, text)
		}
		back := g.knock()
		back.send(resume(message{Session: joined.Session, Key: pass(nil)}, 1))
		if m := back.expect(protocol.TypeError); m.Code != "unknown_session" {
			t.Errorf("a resume with a credential: %+v", m)
		}
	})
}

// TestKeySets has the keys behind a URL: over real sockets, as they are fetched.
func TestKeySets(t *testing.T) {
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	x := base64.RawURLEncoding.EncodeToString(privateKey.Public().(ed25519.PublicKey))
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","use":"sig","x":"`+x+`"}]}`)
	}))
	defer issuer.Close()
	with := func(url string) *guarded {
		return startGuarded(t, func(c *Config) {
			guard(c)
			c.Projects[0].Keys = credential.Keys{JWKSURL: url}
		}, Outside{}, (&net.Dialer{}).DialContext)
	}
	g := with(issuer.URL)
	ids := g.furnishBy(signEd(`{"alg":"EdDSA","kid":"k1"}`, goodClaims(nil), privateKey))
	before := g.metrics()
	for _, d := range []defect{
		{name: "unknown kid", reason: credential.ReasonUnknownKey, make: func() string {
			return signEd(`{"alg":"EdDSA","kid":"k2"}`, goodClaims(nil), privateKey)
		}},
		{name: "another's key", reason: credential.ReasonSignature, make: func() string {
			return signEd(`{"alg":"EdDSA","kid":"k1"}`, goodClaims(nil), other)
		}},
		{name: "another algorithm", reason: credential.ReasonAlgorithm, make: func() string {
			return signEd(`{"alg":"ES256","kid":"k1"}`, goodClaims(nil), privateKey)
		}},
		{name: "the public key as a secret", reason: credential.ReasonAlgorithm, make: func() string {
			return signAs(`{"alg":"HS256","kid":"k1"}`, goodClaims(nil), sha256.New, x)
		}},
		{name: "a key set of its own", reason: credential.ReasonUnknownKey, make: func() string {
			return signEd(`{"alg":"EdDSA","kid":"k3","jku":"https://example.com/jwks"}`, goodClaims(nil), other)
		}},
	} {
		counted := g.metrics()
		for i := range entrances {
			e := &entrances[i]
			a := g.enter(e, ids, d.make(), nil)
			// A key that is not in the set may have been published since it was fetched.
			later := d.reason == credential.ReasonUnknownKey && a.code == "unavailable"
			if e.method != http.MethodHead && !later && (a.code != "unauthenticated" || a.message != invalid) {
				t.Errorf("%s at %s: %+v", d.name, e, a)
			}
		}
		after := g.metrics()
		n := after[refusedFor(d.reason)] - counted[refusedFor(d.reason)]
		if d.reason == credential.ReasonUnknownKey {
			n += after[refusedFor(credential.ReasonKeysUnavailable)] - counted[refusedFor(credential.ReasonKeysUnavailable)]
		}
		if n != float64(len(entrances)) {
			t.Errorf("%s: %v of %d counted as %s", d.name, n, len(entrances), d.reason)
		}
	}
	if after := g.metrics(); after["refresher_tokens_issued_total"] != before["refresher_tokens_issued_total"] || after["refresher_sessions"] != before["refresher_sessions"] {
		t.Error("what was refused was done")
	}

	// Nothing is known of any key: that is not the client's fault, and it is told
	// to come back. Nor is such a node ready.
	issuer.Close()
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[]}`)
	}))
	defer empty.Close()
	for name, url := range map[string]string{"an endpoint that is away": issuer.URL, "an empty key set": empty.URL} {
		n := with(url)
		text := signEd(`{"alg":"EdDSA","kid":"k1"}`, goodClaims(nil), privateKey)
		if a := n.enter(&entrances[0], ids, text, nil); a.code != "unavailable" || a.closed != protocol.CloseOverload {
			t.Errorf("%s: %+v", name, a)
		}
		if a := n.enter(&entrances[1], ids, text, nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", name, a)
		}
		if why := n.operations("/readyz"); why != "starting: no key set has been fetched yet\n" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// furnishBy is furnish where the usual credentials are not taken.
func (g *guarded) furnishBy(credential string) *strings.Replacer {
	g.t.Helper()
	s := g.knock()
	s.send(`{"type":"join","auth":"` + credential + `","rtc":{"channel":"daily","uid":1}}`)
	joined := s.expect(protocol.TypeJoined)
	_ = s.CloseNow()
	return strings.NewReplacer("{session}", joined.Session)
}
