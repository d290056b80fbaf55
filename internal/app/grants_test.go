package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"pgregory.net/rapid"

	"refresher/internal/agora"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/web/demo/edge"
)

// wish is what a caller asks for.
type wish struct {
	channel, uid, account, role, rtm, chat string
	ttl                                    int64 // seconds; 0 = does not say
}

// usualWish is within the grants of usualGrants.
var usualWish = wish{channel: "daily-1", uid: "1001", account: "ana", role: "publisher", rtm: "1001", chat: "ana"}

func usualGrants() map[string]any {
	return map[string]any{
		"rtc": map[string]any{
			"channels": []any{"daily-1"}, "uids": []any{1001}, "accounts": []any{"ana"}, "roles": []any{"publisher", "subscriber"},
		},
		"rtm": map[string]any{"users": []any{"1001"}}, "chat": map[string]any{"users": []any{"ana"}},
	}
}

// giver is a way to get tokens. It is asked by a request, or without a method by a
// join.
type giver struct {
	name   string
	method string
	path   func(w *wish) string
	body   func(w *wish) string
	needs  []string // of a grant, in the order in which it is looked at
	tokens []expected
	stream bool // its RTM token also opens stream channels, as the RTC user of its name
}

// expected is a token that a giver gives: under which name, for which service and
// which user of the wish.
type expected struct {
	name string
	leg  edge.Leg
	user func(w *wish) string
}

// Users of a wish.
func uidOf(w *wish) string     { return w.uid }
func accountOf(w *wish) string { return w.account }
func rtmOf(w *wish) string     { return w.rtm }
func chatOf(w *wish) string    { return w.chat }

// byPath is a classic endpoint with everything in its path. Names in braces are
// fields of the wish.
func byPath(pattern string) func(w *wish) string {
	return func(w *wish) string {
		e := url.PathEscape
		path := strings.NewReplacer("{channel}", e(w.channel), "{uid}", e(w.uid), "{account}", e(w.account),
			"{role}", w.role, "{rtm}", e(w.rtm), "{chat}", e(w.chat)).Replace(pattern)
		if w.ttl != 0 {
			path += "?expiry=" + strconv.FormatInt(w.ttl, 10)
		}
		return path
	}
}

// byBody is one with it in the body. A name in braces stands for the text of a
// field, in JSON.
func byBody(ttl, pattern string) func(w *wish) string {
	return func(w *wish) string {
		j := func(s string) string { return asJSON(s) }
		body := strings.NewReplacer("{channel}", j(w.channel), "{uid}", w.uid, "{account}", j(w.account),
			"{role}", j(w.role), "{rtm}", j(w.rtm), "{chat}", j(w.chat)).Replace(pattern)
		if w.ttl != 0 {
			body = strings.TrimSuffix(body, "}") + `,"` + ttl + `":` + strconv.FormatInt(w.ttl, 10) + "}"
		}
		return body
	}
}

// byQuery is one with it in the query. A name in braces stands for a field.
func byQuery(pattern string) func(w *wish) string {
	return func(w *wish) string {
		e := url.QueryEscape
		path := strings.NewReplacer("{channel}", e(w.channel), "{uid}", e(w.uid), "{account}", e(w.account),
			"{role}", w.role, "{rtm}", e(w.rtm)).Replace(pattern)
		if w.ttl != 0 {
			path += "&expireTime=" + strconv.FormatInt(w.ttl, 10)
		}
		return path
	}
}

func at(path string) func(*wish) string { return func(*wish) string { return path } }

var givers = []giver{
	{
		name: "join rtc uid", body: byBody("ttl", `{"rtc":{"channel":{channel},"uid":{uid},"role":{role}}}`),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"rtc", edge.RTC, uidOf}},
	},
	{
		name: "join rtc account", body: byBody("ttl", `{"rtc":{"channel":{channel},"account":{account},"role":{role}}}`),
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"rtc", edge.RTC, accountOf}},
	},
	{
		name: "join rtm", body: byBody("ttl", `{"rtm":{"userId":{rtm}}}`),
		needs: []string{"rtm.userId"}, tokens: []expected{{"rtm", edge.RTM, rtmOf}},
	},
	{
		name: "join chat", body: byBody("ttl", `{"chat":{"userId":{chat}}}`),
		needs: []string{"chat.userId"}, tokens: []expected{{"chat", edge.Chat, chatOf}},
	},
	{
		name:   "join all",
		body:   byBody("ttl", `{"rtc":{"channel":{channel},"uid":{uid},"role":{role}},"rtm":{"userId":{rtm}},"chat":{"userId":{chat}}}`),
		needs:  []string{"rtc.channel", "rtc.uid", "rtc.role", "rtm.userId", "chat.userId"},
		tokens: []expected{{"rtc", edge.RTC, uidOf}, {"rtm", edge.RTM, rtmOf}, {"chat", edge.Chat, chatOf}},
	},
	{
		name: "rtc uid", method: "GET", path: byPath("/rtc/{channel}/{role}/uid/{uid}"),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"rtcToken", edge.RTC, uidOf}},
	},
	{
		name: "rtc account", method: "GET", path: byPath("/rtc/{channel}/{role}/userAccount/{account}/"),
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"rtcToken", edge.RTC, accountOf}},
	},
	{
		name: "rtm", method: "GET", path: byPath("/rtm/{rtm}"),
		needs: []string{"rtm.userId"}, tokens: []expected{{"rtmToken", edge.RTM, rtmOf}},
	},
	{
		name: "rte", method: "GET", path: byPath("/rte/{channel}/{role}/uid/{uid}/{rtm}"),
		needs:  []string{"rtc.channel", "rtc.uid", "rtc.role", "rtm.userId"},
		tokens: []expected{{"rtcToken", edge.RTC, uidOf}, {"rtmToken", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "rte account", method: "GET", path: byPath("/rte/{channel}/{role}/userAccount/{account}/{rtm}"),
		needs:  []string{"rtc.channel", "rtc.account", "rtc.role", "rtm.userId"},
		tokens: []expected{{"rtcToken", edge.RTC, accountOf}, {"rtmToken", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "chat account", method: "GET", path: byPath("/chat/account/{chat}"),
		needs: []string{"chat.userId"}, tokens: []expected{{"chatToken", edge.Chat, chatOf}},
	},
	{
		name: "chat app", method: "GET", path: byPath("/chat/app"),
		needs: []string{"admin"}, tokens: []expected{{name: "chatToken", leg: edge.Chat}},
	},
	{
		name: "getToken rtc", method: "POST", path: at("/getToken"),
		body:  byBody("expire", `{"tokenType":"rtc","channel":{channel},"role":{role},"uid":{uid}}`),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "getToken rtc account", method: "POST", path: at("/getToken"),
		body:  byBody("expire", `{"tokenType":"rtc","channel":{channel},"role":{role},"uid":{account}}`),
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "getToken rtm", method: "POST", path: at("/getToken"), body: byBody("expire", `{"tokenType":"rtm","uid":{rtm}}`),
		needs: []string{"rtm.userId"}, tokens: []expected{{"token", edge.RTM, rtmOf}},
	},
	{
		name: "getToken rtm with a channel", method: "POST", path: at("/getToken"),
		body:  byBody("expire", `{"tokenType":"rtm","uid":{rtm},"channel":{channel}}`),
		needs: []string{"rtm.userId", "stream rtc.channel"}, tokens: []expected{{"token", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "getToken chat", method: "POST", path: at("/getToken"), body: byBody("expire", `{"tokenType":"chat","uid":{chat}}`),
		needs: []string{"chat.userId"}, tokens: []expected{{"token", edge.Chat, chatOf}},
	},
	{
		name: "getToken chat app", method: "POST", path: at("/getToken"), body: byBody("expire", `{"tokenType":"chat"}`),
		needs: []string{"admin"}, tokens: []expected{{name: "token", leg: edge.Chat}},
	},
	{
		name: "fetch_rtc_token", method: "POST", path: at("/fetch_rtc_token"),
		body:  byBody("expire", `{"uid":{uid},"ChannelName":{channel},"role":{role}}`),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "fetch_rtc_token_string", method: "POST", path: at("/fetch_rtc_token_string"),
		body:  byBody("expire", `{"uid":{account},"ChannelName":{channel},"role":{role}}`),
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "fetch_rtm_token", method: "POST", path: at("/fetch_rtm_token"), body: byBody("expire", `{"uid":{rtm}}`),
		needs: []string{"rtm.userId"}, tokens: []expected{{"token", edge.RTM, rtmOf}},
	},
	{
		name: "access_token", method: "GET", path: byQuery("/access_token?channelName={channel}&uid={uid}&role={role}"),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "access_token account", method: "GET", path: byQuery("/access_token?channel={channel}&uid={account}&role={role}"),
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "rtcToken", method: "GET", path: byQuery("/rtcToken?channelName={channel}&uid={uid}&role={role}"),
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"key", edge.RTC, uidOf}},
	},
	{
		name: "rtmToken", method: "GET", path: byQuery("/rtmToken?account={rtm}"),
		needs: []string{"rtm.userId"}, tokens: []expected{{"key", edge.RTM, rtmOf}},
	},
	{
		name: "chat user", method: "GET", path: byPath("/chat/user/{chat}/token"),
		needs: []string{"chat.userId"}, tokens: []expected{{"text", edge.Chat, chatOf}},
	},
	{
		name: "chat app as text", method: "GET", path: byPath("/chat/app/token"),
		needs: []string{"admin"}, tokens: []expected{{name: "text", leg: edge.Chat}},
	},
}

// grantCase is the usual grants with one field changed, the usual wish with one,
// and what is not granted then.
type grantCase struct {
	field  string // such as rtc.channels; empty: unchanged
	value  any    // nil: absent
	wish   func(w *wish)
	denied string // empty: all is granted
	// noStream is what is not granted of RTC as the RTM user; empty: all is.
	noStream string
	admin    bool
	life     int64 // what the tokens live, in seconds; 0 = an hour
}

// grantCases are those at one moment.
func grantCases() []grantCase {
	now := time.Now().Unix()
	wants := func(f func(w *wish)) func(w *wish) { return f }
	seconds := func(n int64) func(w *wish) { return func(w *wish) { w.ttl = n } }
	as := func(account string) func(w *wish) { return func(w *wish) { w.account = account } }
	uid := func(uid string) func(w *wish) { return func(w *wish) { w.uid = uid } }
	list := func(names ...any) []any { return append([]any{}, names...) }
	return []grantCase{
		{},
		{admin: true},
		{wish: wants(func(w *wish) { w.role = "subscriber" })},

		{field: "rtc.channels", value: list("weekly", "daily-1")},
		{field: "rtc.channels", value: list("daily-*")},
		{field: "rtc.channels", value: list("daily-1*")},
		{field: "rtc.channels", value: list("*")},
		{field: "rtc.channels", value: list("*"), wish: wants(func(w *wish) { w.channel = "*" })},
		{field: "rtc.channels", value: list("daily-*"), wish: wants(func(w *wish) { w.channel = "*" }), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("**"), wish: wants(func(w *wish) { w.channel = "*" }), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("daily-2"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("daily"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("daily-10", "daily-1 "), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("Daily-1"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("dail*-1"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("*-1"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list("weekly-*", "aily-*"), denied: "rtc.channel"},
		{field: "rtc.channels", value: list(), denied: "rtc.channel"},
		{field: "rtc.channels", denied: "rtc.channel"},
		{field: "rtc.channels", denied: "rtc.channel", admin: true}, // an operator is no caller
		{field: "rtc", denied: "rtc.channel"},
		{field: "rtc", value: map[string]any{}, denied: "rtc.channel"},
		{wish: wants(func(w *wish) { w.channel = "daily-1*" }), denied: "rtc.channel"},
		{wish: wants(func(w *wish) { w.channel = "daily-1#" }), denied: "rtc.channel"},

		{field: "rtc.uids", value: list(7, "1001")},
		{field: "rtc.uids", value: list("10*")},
		{field: "rtc.uids", value: list("*")},
		{field: "rtc.uids", value: list(1002, 100, 10010), denied: "rtc.uid", noStream: "rtc.account"},
		{field: "rtc.uids", value: list("2*"), denied: "rtc.uid", noStream: "rtc.account"},
		{field: "rtc.uids", value: list(), denied: "rtc.uid", noStream: "rtc.account"},
		{field: "rtc.uids", denied: "rtc.uid", noStream: "rtc.account"},
		{wish: uid("10010"), denied: "rtc.uid"},
		{wish: uid("4294967295"), denied: "rtc.uid"},
		// A token for uid 0 is for every uid, so it must be granted as such.
		{wish: uid("0"), denied: "rtc.uid"},
		{field: "rtc.uids", value: list("1*", 1001), wish: uid("0"), denied: "rtc.uid"},
		{field: "rtc.uids", value: list(0), wish: uid("0"), noStream: "rtc.account"},

		{field: "rtc.accounts", value: list("bob", "ana")},
		{field: "rtc.accounts", value: list("an*")},
		{field: "rtc.accounts", value: list("*")},
		{field: "rtc.accounts", value: list("anab", "an", "Ana", "na*"), denied: "rtc.account"},
		{field: "rtc.accounts", value: list(), denied: "rtc.account"},
		{field: "rtc.accounts", denied: "rtc.account"},
		{wish: as("bob"), denied: "rtc.account"},

		{field: "rtc.roles", value: list("publisher")},
		{field: "rtc.roles", value: list("subscriber"), wish: wants(func(w *wish) { w.role = "subscriber" })},
		{field: "rtc.roles", value: list("subscriber"), denied: "rtc.role"},
		{field: "rtc.roles", value: list("publisher"), wish: wants(func(w *wish) { w.role = "subscriber" }), denied: "rtc.role"},
		{field: "rtc.roles", value: list(), denied: "rtc.role", noStream: "rtc.role"},
		{field: "rtc.roles", denied: "rtc.role", noStream: "rtc.role"},

		{field: "rtm.users", value: list("bob", "1001")},
		{field: "rtm.users", value: list("1*")},
		{field: "rtm.users", value: list("*")},
		{field: "rtm.users", value: list("1002", "100", "ana"), denied: "rtm.userId"},
		{field: "rtm.users", value: list(), denied: "rtm.userId"},
		{field: "rtm.users", denied: "rtm.userId"},
		{field: "rtm", denied: "rtm.userId"},

		{field: "chat.users", value: list("bob", "ana")},
		{field: "chat.users", value: list("a*")},
		{field: "chat.users", value: list("*")},
		{field: "chat.users", value: list("an", "anab"), denied: "chat.userId"},
		{field: "chat.users", value: list(), denied: "chat.userId"},
		{field: "chat.users", denied: "chat.userId"},
		{field: "chat", denied: "chat.userId"},

		{wish: seconds(60), life: 60},
		{wish: seconds(86400), life: 86400},
		{field: "maxTtl", value: 7200},
		{field: "maxTtl", value: 600, life: 600},
		{field: "maxTtl", value: 600, wish: seconds(600), life: 600},
		{field: "maxTtl", value: 600, wish: seconds(30), life: 30},
		{field: "maxTtl", value: 600, wish: seconds(601), denied: "ttl"},
		{field: "maxTtl", value: 600, wish: seconds(86400), denied: "ttl"},
		{field: "maxTtl", value: 600, wish: seconds(601), denied: "ttl", admin: true},
		{field: "maxTtl", value: 86400 * 365, wish: seconds(86400), life: 86400},

		{field: "until", value: now + 7200},
		{field: "until", value: now + 600, life: 600},
		{field: "until", value: now + 600, wish: seconds(86400), life: 600},
		{field: "until", value: now + 600, wish: seconds(60), life: 60},
		{field: "until", value: now + 1, life: 1},
		{field: "until", value: now, denied: "until"},
		{field: "until", value: now - 1, denied: "until"},
		{field: "until", value: 1, denied: "until", admin: true},
	}
}

// refusal is how what a giver needs and a case denies is refused: its beginning.
// Empty: it is granted.
func (c *grantCase) refusal(g *giver) string {
	switch c.denied {
	case "ttl":
		return "ttl: the credential grants 600 seconds at most"
	case "until":
		return "the time that the credential grants is over"
	}
	for _, need := range g.needs {
		switch {
		case need == "admin" && !c.admin:
			return "the application's own Chat token wants"
		case need == c.denied:
			return need + ": the credential does not grant this"
		case need == "stream "+c.denied:
			return `the RTM token opens stream channels as RTC user "1001": ` + c.denied + ": the credential does not grant this"
		}
	}
	if c.noStream != "" && g.stream {
		return `the RTM token opens stream channels as RTC user "1001": ` + c.noStream + ": the credential does not grant this"
	}
	return ""
}

// TestGrantsAreHeld asks every giver of tokens, under every grant: what is granted
// is given exactly, nothing else is.
func TestGrantsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, guard)
		judge, err := edge.New(edge.Config{AppID: testAppID, Certificate: testCertificate})
		if err != nil {
			t.Fatal(err)
		}
		defer judge.Close()
		given, refused := 0, 0
		issued := g.metrics()["refresher_tokens_issued_total"]
		for _, c := range grantCases() {
			grants, w := usualGrants(), usualWish
			if service, list, within := strings.Cut(c.field, "."); c.field != "" {
				of := grants
				if within {
					of, service = grants[service].(map[string]any), list
				}
				if of[service] = c.value; c.value == nil {
					delete(of, service)
				}
			}
			if c.wish != nil {
				c.wish(&w)
			}
			change := map[string]any{"grants": grants, "scope": nil}
			if c.admin {
				change["scope"] = "admin"
			}
			for i := range givers {
				giver := &givers[i]
				what := fmt.Sprintf("%s, granted %s %v, wished %+v", giver.name, c.field, c.value, w)
				a, tokens := g.ask(giver, &w, pass(change))
				want := c.refusal(giver)
				minted := g.metrics()["refresher_tokens_issued_total"] - issued
				issued += minted
				if want != "" {
					refused++
					if a.code != "forbidden" || a.message[:min(len(want), len(a.message))] != want || minted != 0 ||
						giver.method == "" && a.closed != protocol.CloseForbidden || giver.method != "" && a.status != http.StatusForbidden {
						t.Errorf("%s: %+v, %v tokens minted; want %q", what, a, minted, want)
					}
					continue
				}
				given++
				if a.status != http.StatusOK || len(tokens) != len(giver.tokens) || int(minted) != len(tokens) {
					t.Errorf("%s: %+v, %v tokens minted", what, a, minted)
					continue
				}
				for _, e := range giver.tokens {
					life := cmp.Or(c.life, 3600)
					if e.leg == edge.RTM && giver.stream {
						e.checkStream(t, what, tokens[e.name], &w, life)
					} else {
						e.check(t, what, judge, tokens[e.name], &w, life)
					}
				}
			}
		}
		if m := g.metrics(); m["refresher_sessions"] != 0 {
			t.Errorf("%v sessions left", m["refresher_sessions"])
		}
		t.Logf("%d cases: %d given, %d refused", given+refused, given, refused)
	})
}

// ask asks for tokens, which come by name.
func (g *guarded) ask(from *giver, w *wish, credential string) (reception, map[string]string) {
	g.t.Helper()
	tokens := make(map[string]string)
	if from.method == "" {
		body := from.body(w)
		a := g.join(body[1:len(body)-1], credential)
		for name, token := range map[string]*protocol.Token{"rtc": a.joined.Tokens.RTC, "rtm": a.joined.Tokens.RTM, "chat": a.joined.Tokens.Chat} {
			if token != nil {
				tokens[name] = token.Token
			}
		}
		return a, tokens
	}
	e := entrance{method: from.method, path: from.path(w)}
	if from.body != nil {
		e.body = from.body(w)
	}
	a := g.enter(&e, strings.NewReplacer(), credential, nil)
	if a.status == http.StatusOK {
		if strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			tokens["text"] = a.body
		} else if err := json.Unmarshal([]byte(a.body), &tokens); err != nil {
			g.t.Errorf("%s: %s", from.name, a.body)
		}
		delete(tokens, "code") // of fetch_rtc_token
	}
	return a, tokens
}

// check expects a token to be what was wished for, and no more.
func (e *expected) check(t *testing.T, what string, judge *edge.Edge, text string, w *wish, life int64) {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	user, channel, privileges := "", "", 1
	if e.user != nil {
		user = e.user(w)
	}
	if e.leg == edge.RTC {
		if channel = w.channel; w.role == "publisher" {
			privileges = 4
		}
		if user == "0" {
			user = "" // for any
		}
	}
	service := map[edge.Leg]agora.ServiceType{edge.RTC: agora.ServiceRTC, edge.RTM: agora.ServiceRTM, edge.Chat: agora.ServiceChat}[e.leg]
	s := token.Services[0]
	if token.AppID != testAppID || len(token.Services) != 1 || s.Type != service || s.Channel != channel || s.User != user || len(s.Privileges) != privileges {
		t.Errorf("%s: %+v", what, token)
	}
	if got := int64(token.ExpiresAt - session.SecOf(time.Now())); got != life || token.ValidUntil != token.ExpiresAt {
		t.Errorf("%s: lives %d s, want %d", what, got, life)
	}
	if e.user == nil { // the judge has no calls of an application
		if err := token.Verify(testCertificate, agora.Holder{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if channel == "*" {
		channel = "daily-1" // or any other
	}
	call, err := judge.Join(edge.JoinRequest{Leg: e.leg, Channel: channel, User: user, Token: text})
	if err != nil {
		t.Errorf("%s: the judge says %v", what, err)
		return
	}
	if e.leg == edge.RTC && call.Publishing() != (w.role == "publisher") {
		t.Errorf("%s: may publish: %t", what, call.Publishing())
	}
	if err := call.Leave(); err != nil {
		t.Error(err)
	}
	if user == "" {
		return
	}
	if _, err := judge.Join(edge.JoinRequest{Leg: e.leg, Channel: channel, User: user + "0", Token: text}); err == nil {
		t.Errorf("%s: the token lets another user in", what)
	}
}

// checkStream expects the token of an RTM user that also opens stream channels. How
// much it may do there is TestStreamChannels's to look at.
func (e *expected) checkStream(t *testing.T, what, text string, w *wish, life int64) {
	t.Helper()
	services, err := servicesOf(text)
	want := fmt.Sprintf("007 rtc %q %q 1 4, rtm %q 1", w.channel, e.user(w), e.user(w))
	subscribes := strings.Replace(want, " 1 4,", " 1,", 1)
	if err != nil || services != want && services != subscribes {
		t.Errorf("%s: %s, %v; want %s", what, services, err, want)
		return
	}
	token, err := agora.Parse(text)
	if got := int64(token.ExpiresAt - session.SecOf(time.Now())); err != nil || got != life {
		t.Errorf("%s: lives %d s, want %d", what, got, life)
	}
}

// holder is a client that applies what it gets, and holds each token against its
// grant.
type holder struct {
	g      *guarded
	maxTTL int64           // seconds; 0 = no bound
	until  session.UnixSec // 0 = no bound

	mu      sync.Mutex
	bundles int                // guarded by mu
	newest  message            // guarded by mu; with tokens
	joined  message            // guarded by mu; the newest joined
	ended   string             // guarded by mu; the reason
	closed  protocol.CloseCode // guarded by mu; of the newest connection
	refuse  bool               // guarded by mu; the next bundle is refused
	faults  []string           // guarded by mu
	socket  *socket
	reading sync.WaitGroup
}

// connect opens a connection with a join or a resume, and reads it from then on.
func (h *holder) connect(greeting string) {
	s := h.g.knock()
	h.socket = s
	h.mu.Lock()
	h.closed = 0
	h.mu.Unlock()
	// Beside the reading: while the server writes, it may not read.
	said := make(chan string, 100)
	h.reading.Go(func() {
		for text := range said {
			_ = s.Write(h.g.t.Context(), websocket.MessageText, []byte(text)) // it may be gone
		}
	})
	h.reading.Go(func() {
		defer close(said)
		for {
			m, closed := s.take()
			h.mu.Lock()
			if closed != 0 {
				h.closed = closed
				h.mu.Unlock()
				return
			}
			h.hold(&m)
			kind := "ack"
			if h.refuse && m.Seq > 0 {
				kind, h.refuse = "nack", false
			}
			h.mu.Unlock()
			if m.Seq > 0 {
				said <- fmt.Sprintf(`{"type":%q,"seq":%d}`, kind, m.Seq)
			}
		}
	})
	s.send(greeting)
	synctest.Wait()
}

// hold looks at a message. h.mu is held.
func (h *holder) hold(m *message) {
	switch m.Type {
	case protocol.TypeJoined:
		h.joined = *m
	case protocol.TypeEnded:
		h.ended = m.Reason
	}
	now := session.SecOf(time.Now())
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM} {
		if token == nil {
			continue
		}
		h.newest = *m
		h.bundles++
		parsed, err := agora.Parse(token.Token)
		switch {
		case err != nil:
			h.faults = append(h.faults, err.Error())
		case parsed.ExpiresAt != token.ExpiresAt || parsed.ValidUntil != token.ExpiresAt:
			h.faults = append(h.faults, fmt.Sprintf("%s: says %d, ends %d", name, token.ExpiresAt, parsed.ExpiresAt))
		case h.until != 0 && token.ExpiresAt > h.until:
			h.faults = append(h.faults, fmt.Sprintf("%s by %s (%s): %d s past until", name, m.Type, m.Cause, token.ExpiresAt-h.until))
		case h.maxTTL != 0 && token.ExpiresAt > now+session.UnixSec(h.maxTTL):
			h.faults = append(h.faults, fmt.Sprintf("%s by %s (%s): lives %d s", name, m.Type, m.Cause, token.ExpiresAt-now))
		}
	}
}

// take reads a message, or the code that the connection closed with; 1006 if it
// broke.
func (s *socket) take() (message, protocol.CloseCode) {
	_, data, err := s.Conn.Read(s.t.Context())
	if err != nil {
		if code := protocol.CloseCode(websocket.CloseStatus(err)); code > 0 {
			return message{}, code
		}
		return message{}, protocol.CloseAbnormal
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		s.t.Errorf("%s: %v", data, err)
	}
	return m, 0
}

// state is a copy of what the client knows.
func (h *holder) state() (newest, joined message, ended string, closed protocol.CloseCode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest, h.joined, h.ended, h.closed
}

// overHTTP renews by the newest key, and holds what it gets.
func (h *holder) overHTTP() int {
	newest, joined, _, _ := h.state()
	r, text := h.g.visit("POST", "/v1/sessions/"+joined.Session+"/renew", fmt.Sprintf(`{"seq":%d}`, newest.Seq), "Authorization", "Bearer "+joined.Key)
	if r.StatusCode == http.StatusOK {
		var m message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			h.g.t.Error(err)
		}
		h.mu.Lock()
		h.hold(&m)
		h.mu.Unlock()
	}
	return r.StatusCode
}

// TestNoTokenOutlivesItsGrant has clients do all that gets them tokens, at random,
// until their grant is over: each token is held against the grant, and then there
// are none any more.
func TestNoTokenOutlivesItsGrant(t *testing.T) {
	tokens, calls := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		s := drawScript(r)
		synctest.Test(t, func(t *testing.T) { tokens += s.play(t) })
		if calls++; t.Failed() {
			r.Fatalf("the script was %+v", s)
		}
	})
	t.Logf("%d tokens of %d calls", tokens, calls)
}

// script is one client's grant and what it does. 0 in a span of seconds is none.
type script struct {
	maxTTL, until, ttl int64 // seconds
	steps              []step
}

type step struct {
	do     string
	waitMs int64 // after it
}

func drawScript(r *rapid.T) script {
	seconds := func(least, most int64, name string) int64 {
		if rapid.Bool().Draw(r, "has "+name) {
			return rapid.Int64Range(least, most).Draw(r, name)
		}
		return 0
	}
	s := script{maxTTL: seconds(10, 120, "maxTtl"), until: rapid.Int64Range(1, 300).Draw(r, "until")}
	if s.ttl = seconds(10, 200, "ttl"); s.maxTTL != 0 {
		s.ttl = min(s.ttl, s.maxTTL)
	}
	s.steps = rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
		return step{
			rapid.SampledFrom([]string{"wait", "renew", "nack", "resume", "drop", "http", "publisher", "subscriber"}).Draw(r, "do"),
			rapid.Int64Range(0, 60_000).Draw(r, "ms"),
		}
	}), 0, 12).Draw(r, "steps")
	return s
}

// play plays it, and returns how many tokens there were.
func (s *script) play(t *testing.T) int {
	g := newGuarded(t, func(c *Config) {
		guard(c)
		c.Heartbeat = time.Hour
	})
	h := &holder{g: g, maxTTL: s.maxTTL, until: session.SecOf(time.Now()) + session.UnixSec(s.until)}
	grants, ttl := allGrants(), ""
	if grants["until"] = h.until; s.maxTTL != 0 {
		grants["maxTtl"] = s.maxTTL
	}
	if s.ttl != 0 {
		ttl = fmt.Sprintf(`,"ttl":%d`, s.ttl)
	}
	h.connect(`{"type":"join","auth":"` + pass(map[string]any{"grants": grants}) + `","rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"}` + ttl + `}`)
	for _, step := range s.steps {
		newest, joined, ended, closed := h.state()
		switch {
		case ended != "": // the rest is for after the end
		case step.do == "http":
			h.overHTTP()
		case step.do == "publisher" || step.do == "subscriber":
			g.admin("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"`+step.do+`"}}`, nil)
		case step.do == "resume" || closed != 0:
			h.connect(resume(joined, newest.Seq))
		case step.do == "drop":
			_ = h.socket.CloseNow()
		case step.do == "nack":
			h.mu.Lock()
			h.refuse = true
			h.mu.Unlock()
			h.socket.send(`{"type":"renew"}`)
		case step.do == "renew":
			h.socket.send(`{"type":"renew"}`)
		}
		time.Sleep(time.Duration(step.waitMs) * time.Millisecond) // bubble
	}
	if left := h.until - session.SecOf(time.Now()); left >= 0 {
		time.Sleep(time.Duration(left)*time.Second + 5*time.Second) // bubble
	}

	// It is over: on the connection, and for whoever comes back.
	_, joined, ended, closed := h.state()
	if closed == 0 || ended != "" && ended != "expired" {
		t.Errorf("after until: ended %q, closed with %d", ended, closed)
	}
	if status := h.overHTTP(); status != http.StatusGone {
		t.Errorf("a renewal over HTTP after until: %d", status)
	}
	h.connect(resume(joined, 1))
	time.Sleep(time.Second) // bubble
	if _, _, ended, closed := h.state(); ended != "expired" || closed != protocol.CloseEnded {
		t.Errorf("a resume after until: ended %q, closed with %d", ended, closed)
	}
	_ = h.socket.CloseNow()
	h.reading.Wait()
	for _, fault := range h.faults {
		t.Error(fault)
	}
	return h.bundles
}

// A role is changed to what the credential granted, and no further.
func TestRoleChangesStayWithinTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, guard)
		for _, c := range []struct {
			granted  []any
			from, to string
			status   int
		}{
			{[]any{"publisher", "subscriber"}, "subscriber", "publisher", http.StatusOK},
			{[]any{"publisher", "subscriber"}, "publisher", "subscriber", http.StatusOK},
			{[]any{"subscriber"}, "subscriber", "publisher", http.StatusForbidden},
			{[]any{"publisher"}, "publisher", "subscriber", http.StatusOK}, // it is the lesser one
		} {
			grants := allGrants()
			grants["rtc"].(map[string]any)["roles"] = c.granted
			grants["maxTtl"] = 60
			h := &holder{g: g, maxTTL: 60}
			h.connect(`{"type":"join","auth":"` + pass(map[string]any{"grants": grants}) + `","rtc":{"channel":"c","uid":1,"role":"` + c.from + `"}}`)
			_, joined, _, _ := h.state()
			time.Sleep(time.Second) // bubble
			r := g.admin("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"`+c.to+`"}}`, nil)
			synctest.Wait()
			if r.StatusCode != c.status {
				t.Errorf("%v, from %s to %s: %d", c.granted, c.from, c.to, r.StatusCode)
			}
			publishes := func() bool {
				newest, _, _, _ := h.state()
				token, err := agora.Parse(newest.Tokens.RTC.Token)
				if err != nil {
					t.Fatal(err)
				}
				return len(token.Services[0].Privileges) == 4
			}
			want := c.from
			if c.status == http.StatusOK {
				want = c.to
			}
			if publishes() != (want == "publisher") {
				t.Errorf("%v, from %s to %s: publishes %t", c.granted, c.from, c.to, publishes())
			}
			// It stays so over a return.
			newest, joined, _, _ := h.state()
			h.connect(resume(joined, newest.Seq))
			if publishes() != (want == "publisher") {
				t.Errorf("%v, from %s to %s, resumed: publishes %t", c.granted, c.from, c.to, publishes())
			}
			h.socket.send(`{"type":"leave"}`)
			h.reading.Wait()
			for _, fault := range h.faults {
				t.Error(fault)
			}
		}
	})
}
