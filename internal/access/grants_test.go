package access_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
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
		j := func(s string) string { return apptest.AsJSON(s) }
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
		g := apptest.NewGuarded(t, apptest.WithCredentials)
		judge, err := edge.New(edge.Config{AppID: apptest.AppID, Certificate: apptest.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer judge.Close()
		given, refused := 0, 0
		issued := g.Metrics()["refresher_tokens_issued_total"]
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
				a, tokens := ask(g, giver, &w, apptest.Pass(change))
				want := c.refusal(giver)
				minted := g.Metrics()["refresher_tokens_issued_total"] - issued
				issued += minted
				if want != "" {
					refused++
					if a.Code != "forbidden" || a.Message[:min(len(want), len(a.Message))] != want || minted != 0 ||
						giver.method == "" && a.Closed != protocol.CloseForbidden || giver.method != "" && a.Status != http.StatusForbidden {
						t.Errorf("%s: %+v, %v tokens minted; want %q", what, a, minted, want)
					}
					continue
				}
				given++
				if a.Status != http.StatusOK || len(tokens) != len(giver.tokens) || int(minted) != len(tokens) {
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
		if m := g.Metrics(); m["refresher_sessions"] != 0 {
			t.Errorf("%v sessions left", m["refresher_sessions"])
		}
		t.Logf("%d cases: %d given, %d refused", given+refused, given, refused)
	})
}

// ask asks for tokens, which come by name.
func ask(g *apptest.Guarded, from *giver, w *wish, credential string) (apptest.Reception, map[string]string) {
	g.T.Helper()
	tokens := make(map[string]string)
	if from.method == "" {
		body := from.body(w)
		a := g.Join(body[1:len(body)-1], credential)
		for name, token := range map[string]*protocol.Token{"rtc": a.Joined.Tokens.RTC, "rtm": a.Joined.Tokens.RTM, "chat": a.Joined.Tokens.Chat} {
			if token != nil {
				tokens[name] = token.Token
			}
		}
		return a, tokens
	}
	e := apptest.Entrance{Method: from.method, Path: from.path(w)}
	if from.body != nil {
		e.Body = from.body(w)
	}
	a := g.Enter(&e, strings.NewReplacer(), credential, nil)
	if a.Status == http.StatusOK {
		if strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
			tokens["text"] = a.Body
		} else if err := json.Unmarshal([]byte(a.Body), &tokens); err != nil {
			g.T.Errorf("%s: %s", from.name, a.Body)
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
	if token.AppID != apptest.AppID || len(token.Services) != 1 || s.Type != service || s.Channel != channel || s.User != user || len(s.Privileges) != privileges {
		t.Errorf("%s: %+v", what, token)
	}
	if got := int64(token.ExpiresAt - session.SecOf(time.Now())); got != life || token.ValidUntil != token.ExpiresAt {
		t.Errorf("%s: lives %d s, want %d", what, got, life)
	}
	if e.user == nil { // the judge has no calls of an application
		if err := token.Verify(apptest.Certificate, agora.Holder{}); err != nil {
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
	services, err := apptest.ServicesOf(text)
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
	g := apptest.NewGuarded(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Heartbeat = time.Hour
	})
	h := &apptest.Holder{G: g, MaxTTL: s.maxTTL, Until: session.SecOf(time.Now()) + session.UnixSec(s.until)}
	grants, ttl := apptest.AllGrants(), ""
	if grants["until"] = h.Until; s.maxTTL != 0 {
		grants["maxTtl"] = s.maxTTL
	}
	if s.ttl != 0 {
		ttl = fmt.Sprintf(`,"ttl":%d`, s.ttl)
	}
	h.Connect(`{"type":"join","auth":"` + apptest.Pass(map[string]any{"grants": grants}) + `","rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"}` + ttl + `}`)
	for _, step := range s.steps {
		newest, joined, ended, closed := h.State()
		switch {
		case ended != "": // the rest is for after the end
		case step.do == "http":
			h.OverHTTP()
		case step.do == "publisher" || step.do == "subscriber":
			g.Admin("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"`+step.do+`"}}`, nil)
		case step.do == "resume" || closed != 0:
			h.Connect(apptest.ResumeText(joined, newest.Seq))
		case step.do == "drop":
			_ = h.Socket.CloseNow()
		case step.do == "nack":
			h.Mu.Lock()
			h.Refuse = true
			h.Mu.Unlock()
			h.Socket.Send(`{"type":"renew"}`)
		case step.do == "renew":
			h.Socket.Send(`{"type":"renew"}`)
		}
		time.Sleep(time.Duration(step.waitMs) * time.Millisecond) // bubble
	}
	if left := h.Until - session.SecOf(time.Now()); left >= 0 {
		time.Sleep(time.Duration(left)*time.Second + 5*time.Second) // bubble
	}

	// It is over: on the connection, and for whoever comes back.
	_, joined, ended, closed := h.State()
	if closed == 0 || ended != "" && ended != "expired" {
		t.Errorf("after until: ended %q, closed with %d", ended, closed)
	}
	if status := h.OverHTTP(); status != http.StatusGone {
		t.Errorf("a renewal over HTTP after until: %d", status)
	}
	h.Connect(apptest.ResumeText(joined, 1))
	time.Sleep(time.Second) // bubble
	if _, _, ended, closed := h.State(); ended != "expired" || closed != protocol.CloseEnded {
		t.Errorf("a resume after until: ended %q, closed with %d", ended, closed)
	}
	_ = h.Socket.CloseNow()
	h.Reading.Wait()
	for _, fault := range h.Faults {
		t.Error(fault)
	}
	return h.Bundles
}

// A role is changed to what the credential granted, and no further.
func TestRoleChangesStayWithinTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewGuarded(t, apptest.WithCredentials)
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
			grants := apptest.AllGrants()
			grants["rtc"].(map[string]any)["roles"] = c.granted
			grants["maxTtl"] = 60
			h := &apptest.Holder{G: g, MaxTTL: 60}
			h.Connect(`{"type":"join","auth":"` + apptest.Pass(map[string]any{"grants": grants}) + `","rtc":{"channel":"c","uid":1,"role":"` + c.from + `"}}`)
			_, joined, _, _ := h.State()
			time.Sleep(time.Second) // bubble
			r := g.Admin("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"`+c.to+`"}}`, nil)
			synctest.Wait()
			if r.StatusCode != c.status {
				t.Errorf("%v, from %s to %s: %d", c.granted, c.from, c.to, r.StatusCode)
			}
			publishes := func() bool {
				newest, _, _, _ := h.State()
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
			newest, joined, _, _ := h.State()
			h.Connect(apptest.ResumeText(joined, newest.Seq))
			if publishes() != (want == "publisher") {
				t.Errorf("%v, from %s to %s, resumed: publishes %t", c.granted, c.from, c.to, publishes())
			}
			h.Socket.Send(`{"type":"leave"}`)
			h.Reading.Wait()
			for _, fault := range h.Faults {
				t.Error(fault)
			}
		}
	})
}
