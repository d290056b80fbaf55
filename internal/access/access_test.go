//go:build !race

package access_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func refusedFor(why credential.Reason) string {
	return `refresher_credentials_total{outcome="` + string(why) + `"}`
}

// defect is a credential that must be refused, with the reason.
type defect struct {
	name   string
	reason credential.Reason // the reason in the log; empty if the request is refused before its credential is parsed
	make   func() string
	header []string // the HTTP headers that carry the credential, instead of "Authorization: Bearer"
}

// wrong returns a defect whose credential is valid except for the claims in `change`.
func wrong(name string, reason credential.Reason, change map[string]any) defect {
	return defect{name: name, reason: reason, make: func() string { return apptest.Pass(change) }}
}

// defects returns all defects that a service with one project, or with several, must detect.
func defects(several bool) []defect {
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	text := func(name string, reason credential.Reason, text string) defect {
		return defect{name: name, reason: reason, make: func() string { return text }}
	}
	made := func(name string, reason credential.Reason, f func() string) defect {
		return defect{name: name, reason: reason, make: f}
	}
	grants := func(name, service, list string, value any) defect {
		g := apptest.AllGrants()
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
		made("another project's key", credential.ReasonSignature, func() string { return apptest.SignWith(apptest.OtherSecret, apptest.GoodClaims(nil)) }),
		wrong("app: a number", credential.ReasonClaims, map[string]any{"app": 5}),
		wrong("app: null", credential.ReasonClaims, map[string]any{"app": json.RawMessage("null")}),
		wrong("exp: past", credential.ReasonExpired, map[string]any{"exp": in(-time.Hour)}),
	}
	if several {
		return append(some,
			wrong("no app", credential.ReasonApp, map[string]any{"app": nil}),
			made("the other project, but the first one's key", credential.ReasonSignature, func() string {
				return apptest.Pass(map[string]any{"app": apptest.OtherAppID})
			}),
			made("the other project, but the first one's public key", credential.ReasonAlgorithm, func() string {
				return apptest.SignEd(`{"alg":"EdDSA"}`, apptest.GoodClaims(map[string]any{"app": apptest.OtherAppID}), apptest.PrivateKey)
			}),
			made("app twice", credential.ReasonClaims, func() string {
				c := apptest.AsJSON(apptest.GoodClaims(nil))
				return apptest.SignWith(apptest.JWTSecret, `{"app":"`+apptest.OtherAppID+`",`+c[1:])
			}),
			wrong("app: spelled otherwise", credential.ReasonApp, map[string]any{"app": strings.ToLower(apptest.AppID)}),
		)
	}
	return append(some,
		defect{name: "another scheme", reason: credential.ReasonMissing, make: noText, header: []string{"Authorization", "Basic " + apptest.Pass(nil)}},
		defect{name: "no scheme", reason: credential.ReasonMissing, make: noText, header: []string{"Authorization", apptest.Pass(nil)}},
		defect{name: "another header", reason: credential.ReasonMissing, make: noText, header: []string{"X-Authorization", "Bearer " + apptest.Pass(nil)}},
		defect{name: "a cookie", reason: credential.ReasonMissing, make: noText, header: []string{"Cookie", "Authorization=Bearer " + apptest.Pass(nil)}},
		text("one dot", credential.ReasonMalformed, "a.b"),
		text("nothing but dots", credential.ReasonMalformed, ".."),
		made("four parts", credential.ReasonMalformed, func() string { return apptest.Pass(nil) + ".x" }),
		made("padded", credential.ReasonMalformed, func() string { return apptest.Pass(nil) + "=" }),
		made("over 8 KiB", credential.ReasonTooLong, func() string {
			return apptest.Pass(map[string]any{"x": strings.Repeat("x", 8<<10*3/4)})
		}),
		text("1 MiB", "", strings.Repeat("x", 1<<20)),
		made("a header that is no object", credential.ReasonMalformed, func() string {
			return apptest.SignAs(`["HS256"]`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),
		made("kid: a number", credential.ReasonMalformed, func() string {
			return apptest.SignAs(`{"alg":"HS256","kid":5}`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),
		made("an extension", credential.ReasonCriticalHeader, func() string {
			return apptest.SignAs(`{"alg":"HS256","crit":["b64"],"b64":false}`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),

		made("alg: none", credential.ReasonAlgorithm, func() string {
			return apptest.Segment(`{"alg":"none"}`) + "." + apptest.Segment(apptest.GoodClaims(nil)) + "."
		}),
		made("alg: None, but signed", credential.ReasonAlgorithm, func() string {
			return apptest.SignAs(`{"alg":"None"}`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),
		made("no alg", credential.ReasonMalformed, func() string {
			return apptest.SignAs(`{"typ":"JWT"}`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),
		made("alg: one without a key", credential.ReasonAlgorithm, func() string {
			return apptest.SignAs(`{"alg":"RS256"}`, apptest.GoodClaims(nil), sha256.New, apptest.JWTSecret)
		}),
		made("signed with the text of the public key", credential.ReasonSignature, func() string { return apptest.SignWith(apptest.PublicKey, apptest.GoodClaims(nil)) }),
		made("signed with the bytes of the public key", credential.ReasonSignature, func() string {
			return apptest.SignWith(string(apptest.PrivateKey.Public().(ed25519.PublicKey)), apptest.GoodClaims(nil))
		}),
		made("signed by secret, said to be by key", credential.ReasonSignature, func() string {
			return apptest.SignAs(`{"alg":"EdDSA"}`, apptest.GoodClaims(nil), sha512.New, apptest.JWTSecret)
		}),
		made("signed with a key that it brings along", credential.ReasonSignature, func() string {
			_, own, err := ed25519.GenerateKey(nil)
			if err != nil {
				panic(err)
			}
			x := base64.RawURLEncoding.EncodeToString(own.Public().(ed25519.PublicKey))
			return apptest.SignEd(`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}}`, apptest.GoodClaims(nil), own)
		}),
		made("a wrong secret", credential.ReasonSignature, func() string { return apptest.SignWith(strings.ToUpper(apptest.JWTSecret), apptest.GoodClaims(nil)) }),
		made("no secret", credential.ReasonSignature, func() string { return apptest.SignWith("", apptest.GoodClaims(nil)) }),
		made("no signature", credential.ReasonSignature, func() string { c := apptest.Pass(nil); return c[:strings.LastIndexByte(c, '.')+1] }),
		made("half a signature", credential.ReasonSignature, func() string { c := apptest.Pass(nil); return c[:len(c)-23] }),
		made("claims changed after it was signed", credential.ReasonSignature, func() string {
			mine, more := strings.Split(apptest.Pass(map[string]any{"scope": nil}), "."), strings.Split(apptest.Pass(nil), ".")
			return mine[0] + "." + more[1] + "." + mine[2]
		}),
		made("another hash than it says", credential.ReasonSignature, func() string {
			return apptest.SignAs(`{"alg":"HS256"}`, apptest.GoodClaims(nil), sha512.New, apptest.JWTSecret)
		}),

		wrong("no exp", credential.ReasonNoExpiry, map[string]any{"exp": nil}),
		made("exp: just over the leeway", credential.ReasonExpired, func() string { return apptest.Pass(map[string]any{"exp": in(-30 * time.Second)}) }),
		made("nbf: ahead", credential.ReasonNotYetValid, func() string { return apptest.Pass(map[string]any{"nbf": in(31 * time.Second)}) }),
		made("iat: ahead", credential.ReasonIssuedAhead, func() string { return apptest.Pass(map[string]any{"iat": in(31 * time.Second)}) }),
		wrong("no aud", credential.ReasonAudience, map[string]any{"aud": nil}),
		wrong("aud: another", credential.ReasonAudience, map[string]any{"aud": "Calls"}),
		wrong("aud: others", credential.ReasonAudience, map[string]any{"aud": []any{"mail", "callsx"}}),
		wrong("aud: nobody", credential.ReasonAudience, map[string]any{"aud": []any{}}),
		wrong("no iss", credential.ReasonIssuer, map[string]any{"iss": nil}),
		wrong("iss: another", credential.ReasonIssuer, map[string]any{"iss": "Login"}),
		wrong("iss: a list", credential.ReasonClaims, map[string]any{"iss": []any{apptest.TestIssuer}}),

		made("no claims", credential.ReasonNoExpiry, func() string { return apptest.SignWith(apptest.JWTSecret, `{}`) }),
		made("claims: a list", credential.ReasonMalformed, func() string { return apptest.SignWith(apptest.JWTSecret, `[]`) }),
		made("claims: no JSON", credential.ReasonMalformed, func() string { return apptest.SignWith(apptest.JWTSecret, `{"exp":`) }),
		made("exp twice", credential.ReasonClaims, func() string {
			return apptest.SignWith(apptest.JWTSecret, `{"exp":9999999999,`+apptest.AsJSON(apptest.GoodClaims(nil))[1:])
		}),
		wrong("exp: a string", credential.ReasonClaims, map[string]any{"exp": "9999999999"}),
		wrong("exp: endless", credential.ReasonClaims, map[string]any{"exp": json.RawMessage("1e300")}),
		wrong("exp: true", credential.ReasonClaims, map[string]any{"exp": true}),
		wrong("nbf: a string", credential.ReasonClaims, map[string]any{"nbf": "0"}),
		wrong("iat: null", credential.ReasonClaims, map[string]any{"iat": json.RawMessage("null")}),
		wrong("aud: a number", credential.ReasonClaims, map[string]any{"aud": 5}),
		wrong("aud: numbers", credential.ReasonClaims, map[string]any{"aud": []any{apptest.TestAudience, 5}}),
		wrong("sub: a number", credential.ReasonClaims, map[string]any{"sub": 1001}),
		wrong("sub: too long", credential.ReasonClaims, map[string]any{"sub": strings.Repeat("x", 256)}),
		wrong("scope: a list", credential.ReasonClaims, map[string]any{"scope": []any{"admin"}}),
		wrong("scope: true", credential.ReasonClaims, map[string]any{"scope": true}),
		wrong("Scope", credential.ReasonClaims, map[string]any{"Scope": "admin"}),
		wrong("grants: a list", credential.ReasonClaims, map[string]any{"grants": []any{apptest.AllGrants()}}),
		wrong("grants: a string", credential.ReasonClaims, map[string]any{"grants": apptest.AsJSON(apptest.AllGrants())}),
		wrong("Grants beside grants", credential.ReasonClaims, map[string]any{"Grants": apptest.AllGrants()}),
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

// endpoint is a request that needs a credential. Without a method it is a join over WebSocket.
type endpoint struct {
	apptest.Request
	admin bool
}

// fixtures has the ids of an existing session and revocation.
type fixtures struct{ session, revocation string }

// nothing has ids of a session and a revocation that do not exist.
var nothing = fixtures{"S", "R"}

// endpoints returns all endpoints that need a credential. Endpoints that delete something come last, because the
// others need what is deleted.
func endpoints(ids fixtures) []endpoint {
	const everybody, operators = false, true
	return []endpoint{
		{apptest.Request{Body: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"chat":{"userId":"ana"}`}, everybody},
		{apptest.Get("/rtc/daily/publisher/uid/7"), everybody},
		{apptest.Get("/rtc/daily/publisher/userAccount/ana/"), everybody},
		{apptest.Get("/rtm/ana"), everybody},
		{apptest.Ask("HEAD", "/rtm/ana", ""), everybody},
		{apptest.Get("/rte/daily/publisher/uid/7"), everybody},
		{apptest.Get("/rte/daily/publisher/uid/7/ana"), everybody},
		{apptest.Get("/chat/account/ana"), everybody},
		{apptest.Get("/chat/app"), operators},
		{apptest.Post("/getToken", `{"tokenType":"rtc","channel":"daily","role":"publisher","uid":"7"}`), everybody},
		{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana"}`), everybody},
		{apptest.Post("/getToken", `{"tokenType":"chat","uid":"ana"}`), everybody},
		{apptest.Post("/getToken", `{"tokenType":"chat"}`), operators},
		{apptest.Post("/fetch_rtc_token", `{"uid":7,"ChannelName":"daily","role":1}`), everybody},
		{apptest.Post("/fetch_rtc_token_string", `{"uid":"ana","ChannelName":"daily","role":1}`), everybody},
		{apptest.Post("/fetch_rtm_token", `{"uid":"ana"}`), everybody},
		{apptest.Get("/access_token?channelName=daily&uid=7"), everybody},
		{apptest.Get("/rtcToken?channelName=daily&uid=7"), everybody},
		{apptest.Get("//rtcToken/?channelName=daily&uid=7"), everybody},
		{apptest.Get("/rtmToken?account=ana"), everybody},
		{apptest.Get("/chat/app/token"), operators},
		{apptest.Get("//chat/app/token"), operators},
		{apptest.Get("/chat/user/ana/token"), everybody},
		{apptest.Get("/v1/sessions"), operators},
		{apptest.Get("/v1/sessions/" + ids.session), operators},
		{apptest.Ask("PATCH", "/v1/sessions/"+ids.session, `{"rtc":{"role":"publisher"}}`), operators},
		{apptest.Ask("PATCH", "/v1/sessions/"+ids.session, `{"renew":true}`), operators},
		{apptest.Post("/v1/revocations", `{"channel":"weekly","for":60}`), operators},
		{apptest.Get("/v1/revocations"), operators},
		{apptest.Get("/v1/revocations/" + ids.revocation), operators},
		{apptest.Get("/v1/certificates"), operators},
		{apptest.Post("/v1/tokens/inspect", `{"token":"007"}`), operators},
		{apptest.Ask("DELETE", "/v1/revocations/"+ids.revocation, ""), operators},
		{apptest.Ask("DELETE", "/v1/sessions/"+ids.session, ""), operators},
	}
}

// setUp creates a session and a revocation.
func setUp(g *apptest.LoggedNode) fixtures {
	g.T.Helper()
	var revocation struct{ ID string }
	g.Admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)
	s := g.Connect()
	s.Send(`{"type":"join","auth":"` + apptest.Pass(map[string]any{"sub": "resident"}) + `","rtc":{"channel":"daily","uid":1}}`)
	joined := s.Expect(protocol.TypeJoined)
	_ = s.CloseNow()        // the session stays open without a connection
	time.Sleep(time.Second) // bubble
	return fixtures{joined.Session, revocation.ID}
}

// longTokens makes the tokens of setUp's session live so long that no renewal happens in a test.
func longTokens(c *app.Config) { c.Policy.TTL = 24 * time.Hour }

// untilLogged is how long until the log's rate limit admits another line about a refusal.
const untilLogged = 6 * time.Second

const (
	needed  = "a credential is needed here"
	invalid = "the credential is not valid here, or has expired; fetch a new one"
)

// TestDefectiveCredentials sends each defect to each endpoint. All get the same answer, the log has
// the reason, and nothing is changed.
func TestDefectiveCredentials(t *testing.T) {
	for name, several := range map[string]bool{"one project": false, "two projects": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := apptest.NewLoggedNode(t, func(c *app.Config) {
					longTokens(c)
					if apptest.WithCredentials(c); several {
						apptest.TwoProjects(c)
					}
				})
				ids := setUp(g)
				cases, counted := 0, g.Metrics()
				for _, d := range defects(several) {
					for i, e := range endpoints(ids) {
						if cases++; testing.Short() && cases%4 != 0 {
							continue
						}
						counted = refuses(g, &d, &e, counted, i%9 == 0) // checks the log line at every ninth endpoint, since each check waits untilLogged
					}
				}
				t.Logf("%d cases: %d defects at %d endpoints", cases, len(defects(several)), len(endpoints(ids)))

				// The refused requests changed nothing, and all endpoints accept a
				// valid credential.
				var revocations struct{ Revocations []struct{ Channel string } }
				g.Admin("GET", "/v1/revocations", "", &revocations)
				if len(revocations.Revocations) != 1 {
					t.Errorf("revocations: %+v", revocations)
				}
				var resident struct {
					Seq uint64
					RTC struct{ Role string }
				}
				g.Admin("GET", "/v1/sessions/"+ids.session, "", &resident)
				if resident.Seq != 1 || resident.RTC.Role != "subscriber" {
					t.Errorf("the session that was there: %+v", resident)
				}
				takes(g, t, ids)
			})
		})
	}
}

// refuses checks that a defect is refused, and returns the metrics afterwards. If the parameter `logged` is true, it
// waits until the log admits another line, and checks that line.
func refuses(g *apptest.LoggedNode, d *defect, e *endpoint, before map[string]float64, logged bool) (after map[string]float64) {
	g.T.Helper()
	if logged {
		time.Sleep(untilLogged) // bubble
	}
	what := d.name + " at " + e.String()
	text := d.make()
	g.Log.Take()
	a := g.Enter(e.Request, text, d.header...)
	synctest.Wait()
	after = g.Metrics()
	log := g.Log.Take()

	reason, status, closed, code, message := d.reason, http.StatusUnauthorized, protocol.CloseUnauthenticated, "unauthenticated", invalid
	if reason == credential.ReasonMissing {
		message = needed
	}
	switch overSocket := e.Method == ""; {
	case overSocket && len(text) > protocol.MaxMessage-100: // the credential alone exceeds the largest message
		reason, closed, code, message = "", protocol.CloseTooLarge, "bad_request", "message too long; want at most 8192 bytes"
	case reason == "": // the credential alone exceeds the largest header
		status, code, message = http.StatusRequestHeaderFieldsTooLarge, "", ""
	}
	switch {
	case e.Method == "" && (a.Closed != closed || a.Code != code || a.Message != message):
		g.T.Errorf("%s: %+v", what, a)
	case e.Method == http.MethodHead && a.Status != status:
		g.T.Errorf("%s: %d", what, a.Status)
	case e.Method != "" && e.Method != http.MethodHead && (a.Status != status || a.Code != code || a.Message != message):
		g.T.Errorf("%s: %d %q %q", what, a.Status, a.Code, a.Message)
	case status == http.StatusUnauthorized && e.Method != "" && a.Header.Get("WWW-Authenticate") != "Bearer":
		g.T.Errorf("%s: no WWW-Authenticate", what)
	}
	for _, unchanged := range []string{"refresher_tokens_issued_total", "refresher_sessions", "refresher_revocations"} {
		if before[unchanged] != after[unchanged] {
			g.T.Errorf("%s: %s went from %v to %v", what, unchanged, before[unchanged], after[unchanged])
		}
	}
	if reason == "" {
		return after
	}
	if after[refusedFor(reason)]-before[refusedFor(reason)] != 1 || after["refresher_credentials_total"]-before["refresher_credentials_total"] != 1 {
		g.T.Errorf("%s: not counted as %s: %s", what, reason, log)
	}
	if logged && (strings.Count(log, "credential refused") != 1 || !strings.Contains(log, "reason="+string(reason)+" ")) {
		g.T.Errorf("%s: the log does not say %s: %s", what, reason, log)
	}
	if len(text) > 20 && (strings.Contains(log, text) || strings.Contains(log, text[len(text)-20:])) {
		g.T.Errorf("%s: the log has the credential: %s", what, log)
	}
	return after
}

// takes checks that each endpoint accepts a valid credential.
func takes(g *apptest.LoggedNode, t *testing.T, ids fixtures) {
	t.Helper()
	for _, e := range endpoints(ids) {
		if a := g.Enter(e.Request, apptest.Pass(nil)); a.Status != http.StatusOK {
			t.Errorf("a good credential at %s: %+v", e, a)
		}
	}
}

// Claims at the limits are accepted, whichever key signed them.
func TestGoodCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.Projects[0].Keys.Secrets = append(c.Projects[0].Keys.Secrets, "the secret before that, still good")
		})
		now := time.Now().Unix()
		for name, text := range map[string]string{
			"the secret before":  apptest.SignWith("the secret before that, still good", apptest.GoodClaims(nil)),
			"HS384":              apptest.SignAs(`{"alg":"HS384"}`, apptest.GoodClaims(nil), sha512.New384, apptest.JWTSecret),
			"HS512":              apptest.SignAs(`{"alg":"HS512"}`, apptest.GoodClaims(nil), sha512.New, apptest.JWTSecret),
			"the public key":     apptest.SignEd(`{"alg":"EdDSA","kid":"whichever"}`, apptest.GoodClaims(nil), apptest.PrivateKey),
			"no app":             apptest.Pass(map[string]any{"app": nil}),
			"no sub":             apptest.Pass(map[string]any{"sub": nil}),
			"no iat":             apptest.Pass(map[string]any{"iat": nil}),
			"exp in the leeway":  apptest.Pass(map[string]any{"exp": now - 29}),
			"nbf in the leeway":  apptest.Pass(map[string]any{"nbf": now + 30}),
			"iat in the leeway":  apptest.Pass(map[string]any{"iat": now + 30}),
			"aud among others":   apptest.Pass(map[string]any{"aud": []any{"mail", apptest.TestAudience}}),
			"scope among others": apptest.Pass(map[string]any{"scope": "read admin write"}),
			"unknown claims":     apptest.Pass(map[string]any{"tenant": map[string]any{"id": 5}}),
		} {
			for _, i := range []int{0, 1, 14} {
				if a := g.Enter(endpoints(nothing)[i].Request, text); a.Status != http.StatusOK {
					t.Errorf("%s at %s: %+v", name, endpoints(nothing)[i], a)
				}
			}
		}
		if r, _ := g.Visit("GET", "/ping", ""); r.StatusCode != http.StatusOK {
			t.Errorf("ping without a credential: %d", r.StatusCode)
		}
	})
}

// Without the scope "admin" a caller can neither see nor change other users' sessions, and cannot
// get Chat's app token.
func TestAdminEndpointsWantTheScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); longTokens(c) })
		ids := setUp(g)
		before := g.Metrics()
		cases := 0
		for _, scope := range []any{nil, "", "read", "Admin", "admins", "administrator", "not-admin", "admin,write", "admin\tx", `"admin"`} {
			for _, e := range endpoints(ids) {
				if !e.admin {
					continue
				}
				cases++
				a := g.Enter(e.Request, apptest.Pass(map[string]any{"scope": scope}))
				if a.Status != http.StatusForbidden || a.Code != "forbidden" || !strings.Contains(a.Message, `the scope "admin"`) {
					t.Errorf("%v at %s: %+v", scope, e, a)
				}
			}
		}
		t.Logf("%d cases refused", cases)
		if after := g.Metrics(); after["refresher_tokens_issued_total"] != before["refresher_tokens_issued_total"] ||
			after["refresher_sessions"] != before["refresher_sessions"] || after["refresher_revocations"] != before["refresher_revocations"] {
			t.Error("what was refused was done")
		}
		takes(g, t, ids)
	})
}

// A resume key is refused as a credential, and a credential as a resume key.
func TestKeysAndCredentialsAreNotOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		s := g.Connect()
		s.Send(`{"type":"join","auth":"` + apptest.Pass(nil) + `","rtm":{"userId":"u"}}`)
		joined := s.Expect(protocol.TypeJoined)
		for _, e := range endpoints(fixtures{joined.Session, nothing.revocation}) {
			a := g.Enter(e.Request, joined.Key)
			if a.Code != "unauthenticated" && e.Method != http.MethodHead {
				t.Errorf("the key at %s: %+v", e, a)
			}
		}
		path := "/v1/sessions/" + joined.Session + "/renew"
		if r, text := g.Visit("POST", path, "", "Authorization", "Bearer "+apptest.Pass(nil)); r.StatusCode != http.StatusNotFound {
			t.Errorf("a credential as a key: %d %s", r.StatusCode, text)
		}
		if r, text := leaveWith(g, joined.Session, apptest.Pass(nil)); r.StatusCode != http.StatusNotFound {
			t.Errorf("left with a credential as a key: %d %s", r.StatusCode, text)
		}
		if r, text := g.Visit("POST", path, ""); r.StatusCode != http.StatusUnauthorized || r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("no key: %d %s", r.StatusCode, text)
		}
		back := g.Connect()
		back.Send(apptest.ResumeText(apptest.Message{Session: joined.Session, Key: apptest.Pass(nil)}, 1))
		if m := back.Expect(protocol.TypeError); m.Code != "unknown_session" {
			t.Errorf("a resume with a credential: %+v", m)
		}
	})
}

// TestKeySets has the projects' keys at a URL. It uses real sockets, because key sets are fetched.
func TestKeySets(t *testing.T) {
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	x := base64.RawURLEncoding.EncodeToString(apptest.PrivateKey.Public().(ed25519.PublicKey))
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","use":"sig","x":"`+x+`"}]}`)
	}))
	defer issuer.Close()
	with := func(url string) *apptest.LoggedNode {
		return apptest.StartLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.Projects[0].Keys = credential.Keys{JWKSURL: url}
		}, app.Outside{}, (&net.Dialer{}).DialContext)
	}
	g := with(issuer.URL)
	ids := setUpBy(g, apptest.SignEd(`{"alg":"EdDSA","kid":"k1"}`, apptest.GoodClaims(nil), apptest.PrivateKey))
	before := g.Metrics()
	for _, d := range []defect{
		{name: "unknown kid", reason: credential.ReasonUnknownKey, make: func() string {
			return apptest.SignEd(`{"alg":"EdDSA","kid":"k2"}`, apptest.GoodClaims(nil), apptest.PrivateKey)
		}},
		{name: "another's key", reason: credential.ReasonSignature, make: func() string {
			return apptest.SignEd(`{"alg":"EdDSA","kid":"k1"}`, apptest.GoodClaims(nil), other)
		}},
		{name: "another algorithm", reason: credential.ReasonAlgorithm, make: func() string {
			return apptest.SignEd(`{"alg":"ES256","kid":"k1"}`, apptest.GoodClaims(nil), apptest.PrivateKey)
		}},
		{name: "the public key as a secret", reason: credential.ReasonAlgorithm, make: func() string {
			return apptest.SignAs(`{"alg":"HS256","kid":"k1"}`, apptest.GoodClaims(nil), sha256.New, x)
		}},
		{name: "a key set of its own", reason: credential.ReasonUnknownKey, make: func() string {
			return apptest.SignEd(`{"alg":"EdDSA","kid":"k3","jku":"https://example.com/jwks"}`, apptest.GoodClaims(nil), other)
		}},
	} {
		counted := g.Metrics()
		for _, e := range endpoints(ids) {
			a := g.Enter(e.Request, d.make())
			// The node cannot rule out that an unknown key was published after its last fetch: it
			// may answer "unavailable".
			later := d.reason == credential.ReasonUnknownKey && a.Code == "unavailable"
			if e.Method != http.MethodHead && !later && (a.Code != "unauthenticated" || a.Message != invalid) {
				t.Errorf("%s at %s: %+v", d.name, e, a)
			}
		}
		after := g.Metrics()
		n := after[refusedFor(d.reason)] - counted[refusedFor(d.reason)]
		if d.reason == credential.ReasonUnknownKey {
			n += after[refusedFor(credential.ReasonKeysUnavailable)] - counted[refusedFor(credential.ReasonKeysUnavailable)]
		}
		if n != float64(len(endpoints(ids))) {
			t.Errorf("%s: %v of %d counted as %s", d.name, n, len(endpoints(ids)), d.reason)
		}
	}
	if after := g.Metrics(); after["refresher_tokens_issued_total"] != before["refresher_tokens_issued_total"] || after["refresher_sessions"] != before["refresher_sessions"] {
		t.Error("what was refused was done")
	}

	// While the node has no key set, it tells clients to retry later, and the node is not ready.
	issuer.Close()
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[]}`)
	}))
	defer empty.Close()
	for name, url := range map[string]string{"an endpoint that is away": issuer.URL, "an empty key set": empty.URL} {
		n := with(url)
		text := apptest.SignEd(`{"alg":"EdDSA","kid":"k1"}`, apptest.GoodClaims(nil), apptest.PrivateKey)
		if a := n.Enter(endpoints(ids)[0].Request, text); a.Code != "unavailable" || a.Closed != protocol.CloseOverload {
			t.Errorf("%s: %+v", name, a)
		}
		if a := n.Enter(endpoints(ids)[1].Request, text); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", name, a)
		}
		if why := n.Operations("/readyz"); why != "starting: no key set has been fetched yet\n" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// setUpBy is setUp with the given credential, for nodes that do not accept the default one.
func setUpBy(g *apptest.LoggedNode, credential string) fixtures {
	g.T.Helper()
	s := g.Connect()
	s.Send(`{"type":"join","auth":"` + credential + `","rtc":{"channel":"daily","uid":1}}`)
	joined := s.Expect(protocol.TypeJoined)
	_ = s.CloseNow()
	return fixtures{joined.Session, nothing.revocation}
}
