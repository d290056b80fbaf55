//go:build !race

package access_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// params are the parameters of a request. In the table `endpoints`, "{uid}" stands for the field `uid`, and so on.
type params struct {
	channel, uid, account, role, rtm, chat string
	session, revocation                    string
	ttl                                    string // seconds; empty if the request names no lifetime
}

var usual = params{
	channel: "daily-1", uid: "1001", account: "ana", role: "publisher", rtm: "ana", chat: "ana", session: "S", revocation: "R",
}

// endpoint is a request that needs a credential. A request without a method is a join over WebSocket.
type endpoint struct {
	apptest.Request

	needs  []string // the fields that the grants must cover, or scopeAdmin
	tokens tokens
}

// tokens maps each field with a token in an endpoint's answer to the expected content. If the function is nil, the
// content is not compared.
type tokens map[string]func(p *params) apptest.Opens

const scopeAdmin = "scope"

var (
	rtcUID     = []string{"rtc.channel", "rtc.uid", "rtc.role"}
	rtcAccount = []string{"rtc.channel", "rtc.account", "rtc.role"}
	rtmUser    = []string{"rtm.userId"}
	chatUser   = []string{"chat.userId"}
	operator   = []string{scopeAdmin}
)

func rtcToken(p *params, user string) apptest.Opens {
	if p.role == "publisher" {
		return apptest.V007(apptest.RTC(p.channel, user, 1, 2, 3, 4))
	}
	return apptest.V007(apptest.RTC(p.channel, user, 1))
}

func uidToken(p *params) apptest.Opens {
	if p.uid == "0" {
		return rtcToken(p, "")
	}
	return rtcToken(p, p.uid)
}

func accountToken(p *params) apptest.Opens { return rtcToken(p, p.account) }
func rtmToken(p *params) apptest.Opens     { return apptest.V007(apptest.RTM(p.rtm, 1)) }
func chatToken(p *params) apptest.Opens    { return apptest.V007(apptest.Chat(p.chat, 1)) }
func chatAppToken(*params) apptest.Opens   { return apptest.V007(apptest.Chat("", 2)) }

// streamToken is the token of an RTM user who may also publish in stream channels. In a stream channel, the user is an
// RTC account.
func streamToken(p *params) apptest.Opens {
	return apptest.V007(apptest.RTC(p.channel, p.rtm, 1, 4), apptest.RTM(p.rtm, 1))
}

func join(services string) apptest.Request { return apptest.Request{Body: services} }

// endpoints has all endpoints that need a credential. Endpoints that delete a session or a revocation come last,
// because the other endpoints need the session and the revocation.
var endpoints = []endpoint{
	{join(`"rtc":{"channel":"{channel}","uid":{uid},"role":"{role}"}`), rtcUID, tokens{"rtc": uidToken}},
	{join(`"rtc":{"channel":"{channel}","account":"{account}","role":"{role}"}`), rtcAccount, tokens{"rtc": accountToken}},
	{join(`"rtm":{"userId":"{rtm}"}`), rtmUser, tokens{"rtm": rtmToken}},
	{join(`"chat":{"userId":"{chat}"}`), chatUser, tokens{"chat": chatToken}},
	{
		join(`"rtc":{"channel":"{channel}","uid":{uid},"role":"{role}"},"rtm":{"userId":"{rtm}"},"chat":{"userId":"{chat}"}`),
		slices.Concat(rtcUID, rtmUser, chatUser),
		tokens{"rtc": uidToken, "rtm": rtmToken, "chat": chatToken},
	},
	{apptest.Get("/rtc/{channel}/{role}/uid/{uid}"), rtcUID, tokens{"rtcToken": uidToken}},
	{apptest.Get("/rtc/{channel}/{role}/userAccount/{account}/"), rtcAccount, tokens{"rtcToken": accountToken}},
	{apptest.Get("/rtm/{rtm}"), rtmUser, tokens{"rtmToken": rtmToken}},
	{apptest.Ask("HEAD", "/rtm/{rtm}", ""), rtmUser, nil},
	{
		apptest.Get("/rte/{channel}/{role}/uid/{uid}/{rtm}"), slices.Concat(rtcUID, rtmUser, []string{"rtc.account"}),
		tokens{"rtcToken": uidToken, "rtmToken": streamToken},
	},
	{
		apptest.Get("/rte/{channel}/{role}/userAccount/{account}/{rtm}"), slices.Concat(rtcAccount, rtmUser),
		tokens{"rtcToken": accountToken, "rtmToken": streamToken},
	},
	{apptest.Get("/chat/account/{chat}"), chatUser, tokens{"chatToken": chatToken}},
	{apptest.Get("/chat/app"), operator, tokens{"chatToken": chatAppToken}},
	{apptest.Post("/getToken", `{"tokenType":"rtc","channel":"{channel}","role":"{role}","uid":{uid}}`), rtcUID, tokens{"token": uidToken}},
	{apptest.Post("/getToken", `{"tokenType":"rtc","channel":"{channel}","role":"{role}","uid":"{account}"}`), rtcAccount, tokens{"token": accountToken}},
	{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"{rtm}"}`), rtmUser, tokens{"token": rtmToken}},
	{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"{rtm}","channel":"{channel}"}`), []string{"rtm.userId", "rtc.channel", "rtc.account"}, tokens{"token": nil}},
	{apptest.Post("/getToken", `{"tokenType":"chat","uid":"{chat}"}`), chatUser, tokens{"token": chatToken}},
	{apptest.Post("/getToken", `{"tokenType":"chat"}`), operator, tokens{"token": chatAppToken}},
	{apptest.Post("/fetch_rtc_token", `{"uid":{uid},"ChannelName":"{channel}","role":"{role}"}`), rtcUID, tokens{"token": uidToken}},
	{apptest.Post("/fetch_rtc_token_string", `{"uid":"{account}","ChannelName":"{channel}","role":"{role}"}`), rtcAccount, tokens{"token": accountToken}},
	{apptest.Post("/fetch_rtm_token", `{"uid":"{rtm}"}`), rtmUser, tokens{"token": rtmToken}},
	{apptest.Get("/access_token?channelName={channel}&uid={uid}&role={role}"), rtcUID, tokens{"token": uidToken}},
	{apptest.Get("/access_token?channel={channel}&uid={account}&role={role}"), rtcAccount, tokens{"token": accountToken}},
	{apptest.Get("/rtcToken?channelName={channel}&uid={uid}&role={role}"), rtcUID, tokens{"key": uidToken}},
	{apptest.Get("//rtcToken/?channelName={channel}&uid={uid}&role={role}"), rtcUID, tokens{"key": uidToken}},
	{apptest.Get("/rtmToken?account={rtm}"), rtmUser, tokens{"key": rtmToken}},
	{apptest.Get("/chat/user/{chat}/token"), chatUser, tokens{"text": chatToken}},
	{apptest.Get("/chat/app/token"), operator, tokens{"text": chatAppToken}},
	{apptest.Get("//chat/app/token"), operator, tokens{"text": chatAppToken}},
	{apptest.Get("/v1/sessions"), operator, nil},
	{apptest.Get("/v1/sessions/{session}"), operator, nil},
	{apptest.Ask("PATCH", "/v1/sessions/{session}", `{"rtc":{"role":"publisher"}}`), operator, nil},
	{apptest.Ask("PATCH", "/v1/sessions/{session}", `{"renew":true}`), operator, nil},
	{apptest.Post("/v1/revocations", `{"channel":"weekly","for":60}`), operator, nil},
	{apptest.Get("/v1/revocations"), operator, nil},
	{apptest.Get("/v1/revocations/{revocation}"), operator, nil},
	{apptest.Get("/v1/certificates"), operator, nil},
	{apptest.Post("/v1/tokens/inspect", `{"token":"007"}`), operator, nil},
	{apptest.Ask("DELETE", "/v1/revocations/{revocation}", ""), operator, nil},
	{apptest.Ask("DELETE", "/v1/sessions/{session}", ""), operator, nil},
}

// with returns the endpoint's request with these parameters.
func (e *endpoint) with(p *params) apptest.Request {
	var inPath, inBody []string
	for name, value := range map[string]string{
		"{channel}": p.channel, "{uid}": p.uid, "{account}": p.account, "{role}": p.role, "{rtm}": p.rtm, "{chat}": p.chat,
		"{session}": p.session, "{revocation}": p.revocation,
	} {
		inPath, inBody = append(inPath, name, url.PathEscape(value)), append(inBody, name, value)
	}
	r := e.Request
	r.Path, r.Body = strings.NewReplacer(inPath...).Replace(r.Path), strings.NewReplacer(inBody...).Replace(r.Body)
	switch {
	case p.ttl == "":
	case r.Method == "":
		r.Body += `,"ttl":` + p.ttl
	case r.Method == http.MethodPost:
		r.Body = strings.TrimSuffix(r.Body, "}") + `,"expire":` + p.ttl + `}`
	case strings.Contains(r.Path, "?"):
		r.Path += "&expireTime=" + p.ttl
	default:
		r.Path += "?expiry=" + p.ttl
	}
	return r
}

// receive makes a request, and returns the tokens in the answer by the names of their fields.
func receive(g *apptest.LoggedNode, r apptest.Request, credential string) (apptest.Answer, map[string]string) {
	g.T.Helper()
	a := g.Enter(r, credential)
	if r.Method == "" {
		return a, apptest.TokensOf(a.Joined)
	}
	received := make(map[string]string)
	switch {
	case a.Status != http.StatusOK || r.Method == http.MethodHead:
	case strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain"):
		received["text"] = a.Body
	default:
		if err := json.Unmarshal([]byte(a.Body), &received); err != nil {
			g.T.Errorf("%s: %s", r, a.Body)
		}
		delete(received, "code") // of fetch_rtc_token
	}
	return a, received
}

// outcome has the part of an answer that TestCredentialsAtEveryEndpoint compares.
type outcome struct {
	status        int
	code, message string
}

var (
	accepted = outcome{status: http.StatusOK}
	missing  = outcome{http.StatusUnauthorized, "unauthenticated", "a credential is required"}
	invalid  = outcome{http.StatusUnauthorized, "unauthenticated", "the credential is not valid here, or has expired; fetch a new one"}
)

// outcomeOf returns the outcome of a request. For a refused join over WebSocket, it converts the close code to the
// corresponding HTTP status.
func outcomeOf(r apptest.Request, a apptest.Answer) outcome {
	got := outcome{a.Status, a.Code, a.Message}
	switch {
	case r.Method == "" && a.Closed == protocol.CloseUnauthenticated:
		got.status = http.StatusUnauthorized
	case r.Method == "" && a.Closed == protocol.CloseForbidden:
		got.status = http.StatusForbidden
	}
	return got
}

// TestCredentialsAtEveryEndpoint sends each kind of credential to each endpoint. A refused request has no effect. All
// refusals have the same text; the reason is only in the log and the metric.
func TestCredentialsAtEveryEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Policy.TTL = 24 * time.Hour // with this lifetime, no renewal is due within the test
		})
		var revocation struct{ ID string }
		g.Admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)
		h := apptest.FirstTenant.Open(g, map[string]any{"sub": "resident"})
		time.Sleep(time.Second) // bubble
		_, joined, _, _ := h.State()
		p := usual
		p.session, p.revocation = joined.Session, revocation.ID

		for _, c := range []struct {
			name, credential string
			header           []string          // a header that replaces "Authorization: Bearer <credential>"
			reason           credential.Reason // empty if the credential is valid
			want             outcome           // the expected outcome at endpoints for operators
		}{
			{"none", "", nil, credential.ReasonMissing, missing},
			{"another scheme", "", []string{"Authorization", "Basic " + apptest.Pass(nil)}, credential.ReasonMissing, missing},
			{"no scheme", "", []string{"Authorization", apptest.Pass(nil)}, credential.ReasonMissing, missing},
			{"another header", "", []string{"X-Authorization", "Bearer " + apptest.Pass(nil)}, credential.ReasonMissing, missing},
			{"a cookie", "", []string{"Cookie", "Authorization=Bearer " + apptest.Pass(nil)}, credential.ReasonMissing, missing},
			{"a resume key", joined.Key, nil, credential.ReasonMalformed, invalid},
			{"unsigned", apptest.Segment(`{"alg":"none"}`) + "." + apptest.Segment(apptest.GoodClaims(nil)) + ".", nil, credential.ReasonAlgorithm, invalid},
			{"signed by a stranger", apptest.SignWith("a secret of thirty-two bytes and more", apptest.GoodClaims(nil)), nil, credential.ReasonSignature, invalid},
			{"signed by another project", apptest.SignWith(apptest.OtherSecret, apptest.GoodClaims(nil)), nil, credential.ReasonSignature, invalid},
			{"of no project", apptest.Pass(map[string]any{"app": nil}), nil, credential.ReasonApp, invalid},
			{"expired", apptest.Pass(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), nil, credential.ReasonExpired, invalid},
			{"for another service", apptest.Pass(map[string]any{"aud": "mail"}), nil, credential.ReasonAudience, invalid},
			{"with an invalid claim", apptest.Pass(map[string]any{"sub": 7}), nil, credential.ReasonClaims, invalid},
			{
				"of a user", apptest.Pass(map[string]any{"scope": "administrator"}), nil, "",
				outcome{status: http.StatusForbidden, code: "forbidden"},
			},
			{"of an operator", apptest.Pass(nil), nil, "", accepted},
		} {
			// After 6 s, the rate limit admits another log line about a refusal.
			time.Sleep(6 * time.Second) // bubble
			g.Log.Take()
			before := g.Metrics()
			for _, e := range endpoints {
				r, want := e.with(&p), c.want
				if c.reason == "" && e.needs[0] != scopeAdmin {
					want = accepted
				}
				a := g.Enter(r, c.credential, c.header...)
				got := outcomeOf(r, a)
				switch {
				case r.Method == http.MethodHead:
					got.code, got.message = want.code, want.message
				case want.message == "":
					got.message = ""
				}
				if got != want {
					t.Errorf("%s at %s: %+v, want %+v", c.name, r, got, want)
				}
				if want.status == http.StatusUnauthorized && r.Method != "" && a.Header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s at %s: no WWW-Authenticate", c.name, r)
				}
			}
			if c.reason == "" {
				continue
			}
			after, log := g.Metrics(), g.Log.Take()
			for _, unchanged := range []string{"refresher_tokens_issued_total", "refresher_sessions", "refresher_revocations"} {
				if before[unchanged] != after[unchanged] {
					t.Errorf("%s: %s went from %v to %v", c.name, unchanged, before[unchanged], after[unchanged])
				}
			}
			counter := `refresher_credentials_total{outcome="` + string(c.reason) + `"}`
			if n := after[counter] - before[counter]; n != float64(len(endpoints)) || !strings.Contains(log, "reason="+string(c.reason)+" ") {
				t.Errorf("%s: %v times counted as %s: %s", c.name, n, c.reason, log)
			}
			if c.credential != "" && strings.Contains(log, c.credential[len(c.credential)-20:]) {
				t.Errorf("%s: the log has the credential: %s", c.name, log)
			}
		}
		if r, _ := g.Visit("GET", "/ping", ""); r.StatusCode != http.StatusOK {
			t.Errorf("ping without a credential: %d", r.StatusCode)
		}
		h.Reading.Wait()
	})
}

// grantCase changes the usual grants, and the usual parameters of a request.
type grantCase struct {
	grant   map[string]any // claims by their path, such as "rtc.uids"; the value nil removes the claim
	params  func(p *params)
	denied  string // the field that is not granted; empty if all fields are granted
	refused string // part of the refusal that every request gets; empty if the refusal depends on the field `denied`
	life    int64  // the expected lifetime of the tokens in seconds; 0 means an hour
	admin   bool
}

func grantCases() []grantCase {
	is := func(path string, value any) map[string]any { return map[string]any{path: value} }
	channel := func(name string) func(p *params) { return func(p *params) { p.channel = name } }
	uid := func(name string) func(p *params) { return func(p *params) { p.uid = name } }
	role := func(name string) func(p *params) { return func(p *params) { p.role = name } }
	ttl := func(seconds string) func(p *params) { return func(p *params) { p.ttl = seconds } }
	now := time.Now().Unix()
	const over, tooLong = "the time that the credential grants is over", "ttl: the credential grants 600 seconds at most"
	cases := []grantCase{
		{},
		{admin: true},
		{grant: is("rtc.channels", []any{}), denied: "rtc.channel", admin: true}, // the scope "admin" grants no tokens
		{grant: is("rtc", nil), denied: "rtc.channel"},
		{grant: is("rtm", nil), denied: "rtm.userId"},
		{grant: is("chat", nil), denied: "chat.userId"},

		// A token for the channel "*", or for uid 0, works for every channel or uid, and must be granted explicitly.
		{grant: is("rtc.channels", []any{"*"}), params: channel("*")},
		{grant: is("rtc.channels", []any{"d*", "**"}), params: channel("*"), denied: "rtc.channel"},
		{params: channel("daily-1#"), denied: "rtc.channel"},
		{grant: is("rtc.uids", []any{0}), params: uid("0")},
		{grant: is("rtc.uids", []any{"1*", 1001}), params: uid("0"), denied: "rtc.uid"},

		{params: role("subscriber")},
		{grant: is("rtc.roles", []any{"publisher"})},
		{grant: is("rtc.roles", []any{"publisher"}), params: role("subscriber"), denied: "rtc.role"},
		{grant: is("rtc.roles", []any{"subscriber"}), denied: "rtc.role"},

		{params: ttl("60"), life: 60},
		{params: ttl("86400"), life: 86400},
		{grant: is("maxTtl", 600), life: 600},
		{grant: is("maxTtl", 600), params: ttl("600"), life: 600},
		{grant: is("maxTtl", 600), params: ttl("601"), refused: tooLong, admin: true},
		{grant: is("until", now+7200)},
		{grant: is("until", now+600), life: 600},
		{grant: is("until", now+600), params: ttl("86400"), life: 600},
		{grant: is("until", now), refused: over, admin: true},
	}
	for _, f := range []struct{ list, field, name string }{
		{"rtc.channels", "rtc.channel", usual.channel},
		{"rtc.uids", "rtc.uid", usual.uid},
		{"rtc.accounts", "rtc.account", usual.account},
		{"rtm.users", "rtm.userId", usual.rtm},
		{"chat.users", "chat.userId", usual.chat},
	} {
		for _, names := range [][]any{{"77", f.name}, {f.name[:2] + "*"}, {"*"}} {
			cases = append(cases, grantCase{grant: is(f.list, names)})
		}
		for _, names := range []any{nil, []any{}, []any{"77", "7*", f.name + "0", f.name[:2]}} {
			cases = append(cases, grantCase{grant: is(f.list, names), denied: f.field})
		}
	}
	return cases
}

func (c *grantCase) credential() string {
	grants := map[string]any{
		"rtc":  map[string]any{"channels": []any{usual.channel}, "uids": []any{usual.uid}, "accounts": []any{usual.account}, "roles": []any{"publisher", "subscriber"}},
		"rtm":  map[string]any{"users": []any{usual.rtm}},
		"chat": map[string]any{"users": []any{usual.chat}},
	}
	for path, value := range c.grant {
		in, name := grants, path
		if service, list, nested := strings.Cut(path, "."); nested {
			in, name = grants[service].(map[string]any), list
		}
		if in[name] = value; value == nil {
			delete(in, name)
		}
	}
	claims := map[string]any{"grants": grants, "scope": nil}
	if c.admin {
		claims["scope"] = "admin"
	}
	return apptest.Pass(claims)
}

// refusal returns a part of the expected refusal, or an empty string if the request should be granted.
func (c *grantCase) refusal(e *endpoint) string {
	if slices.Contains(e.needs, c.denied) {
		return c.denied + ": the credential does not grant this"
	}
	return c.refused
}

// TestGrantsAtEveryEndpoint requests tokens from every endpoint under every grant: granted requests get exactly the
// granted token, and all other requests are refused.
func TestGrantsAtEveryEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		issued := g.Metrics()["refresher_tokens_issued_total"]
		for _, c := range grantCases() {
			p := usual
			if c.params != nil {
				c.params(&p)
			}
			for _, e := range endpoints {
				if len(e.tokens) == 0 || e.needs[0] == scopeAdmin && !c.admin {
					continue
				}
				r, want := e.with(&p), c.refusal(&e)
				what := fmt.Sprintf("%s, granted %v", r, c.grant)
				a, received := receive(g, r, c.credential())
				total := g.Metrics()["refresher_tokens_issued_total"]
				minted := int(total - issued)
				issued = total
				switch {
				case want == "" && a.Status == http.StatusOK && minted == len(e.tokens) && len(received) == minted:
					e.check(t, what, received, &p, cmp.Or(c.life, 3600))
				case want == "" || outcomeOf(r, a).status != http.StatusForbidden || a.Code != "forbidden" || !strings.Contains(a.Message, want) || minted != 0:
					t.Errorf("%s: %+v, %d tokens minted; want %q", what, a, minted, want)
				}
			}
		}
	})
}

// check compares the received tokens with the tokens that the endpoint must return. The parameter `life` is their
// expected lifetime in seconds.
func (e *endpoint) check(t *testing.T, what string, received map[string]string, p *params, life int64) {
	t.Helper()
	for name, content := range e.tokens {
		services, err := apptest.ServicesOf(received[name])
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if content != nil && services != content(p) {
			t.Errorf("%s: got %+v, want %+v", what, services, content(p))
		}
		token, _ := agora.Parse(received[name]) // this cannot fail, since ServicesOf has parsed the token
		if left := int64(token.ExpiresAt - session.SecOf(time.Now())); left != life {
			t.Errorf("%s: lives %d s, want %d", what, left, life)
		}
	}
}
