//go:build !race

package access_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// wish is the user, channel and role for which a caller requests tokens.
type wish struct {
	channel, uid, account, role, rtm, chat string
	ttl                                    int64 // seconds; 0 if the request has no lifetime
}

// usualWish is covered by usualGrants.
var usualWish = wish{channel: "daily-1", uid: "1001", account: "ana", role: "publisher", rtm: "1001", chat: "ana"}

func usualGrants() map[string]any {
	return map[string]any{
		"rtc": map[string]any{
			"channels": []any{"daily-1"}, "uids": []any{1001}, "accounts": []any{"ana"}, "roles": []any{"publisher", "subscriber"},
		},
		"rtm": map[string]any{"users": []any{"1001"}}, "chat": map[string]any{"users": []any{"ana"}},
	}
}

// giver is an endpoint that issues tokens. It is an HTTP request, or if it has no method, a join over WebSocket.
type giver struct {
	name     string
	ask      func(w *wish) apptest.Request
	needs    []string // the fields of the grants that the request needs, in the order of the checks
	asStream []string // further fields of the RTC grants, if the RTM user also enters stream channels
	operator bool     // the request needs the scope "admin"
	tokens   []expected
	stream   bool // the RTM token also grants stream channels, for an RTC user that has the RTM user's name
}

// expected describes a token in a giver's answer: its field, its service, and its user.
type expected struct {
	name string
	leg  edge.Leg
	user func(w *wish) string
}

// These functions return the user of a wish in each Agora service.
func uidOf(w *wish) string     { return w.uid }
func accountOf(w *wish) string { return w.account }
func rtmOf(w *wish) string     { return w.rtm }
func chatOf(w *wish) string    { return w.chat }

// inPath returns a request to a classic endpoint with its parameters in the path.
func (w *wish) inPath(segments ...string) apptest.Request {
	path := ""
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	if w.ttl != 0 {
		path += "?expiry=" + strconv.FormatInt(w.ttl, 10)
	}
	return apptest.Get(path)
}

// inQuery returns a request with its parameters in the query.
func (w *wish) inQuery(path string, query url.Values) apptest.Request {
	if w.ttl != 0 {
		query.Set("expireTime", strconv.FormatInt(w.ttl, 10))
	}
	return apptest.Get(path + "?" + query.Encode())
}

// inBody returns a request with its parameters in the body.
func (w *wish) inBody(path string, fields map[string]any) apptest.Request {
	if w.ttl != 0 {
		fields["expire"] = w.ttl
	}
	return apptest.Post(path, apptest.AsJSON(fields))
}

// join returns a join for some services.
func (w *wish) join(services map[string]any) apptest.Request {
	if w.ttl != 0 {
		services["ttl"] = w.ttl
	}
	body := apptest.AsJSON(services)
	return apptest.Request{Body: body[1 : len(body)-1]}
}

var givers = []giver{
	{
		name: "join rtc uid", ask: func(w *wish) apptest.Request {
			return w.join(map[string]any{"rtc": map[string]any{"channel": w.channel, "uid": json.Number(w.uid), "role": w.role}})
		},
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"rtc", edge.RTC, uidOf}},
	},
	{
		name: "join rtc account", ask: func(w *wish) apptest.Request {
			return w.join(map[string]any{"rtc": map[string]any{"channel": w.channel, "account": w.account, "role": w.role}})
		},
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"rtc", edge.RTC, accountOf}},
	},
	{
		name: "join rtm", ask: func(w *wish) apptest.Request {
			return w.join(map[string]any{"rtm": map[string]any{"userId": w.rtm}})
		},
		needs: []string{"rtm.userId"}, tokens: []expected{{"rtm", edge.RTM, rtmOf}},
	},
	{
		name: "join chat", ask: func(w *wish) apptest.Request {
			return w.join(map[string]any{"chat": map[string]any{"userId": w.chat}})
		},
		needs: []string{"chat.userId"}, tokens: []expected{{"chat", edge.Chat, chatOf}},
	},
	{
		name: "join all",
		ask: func(w *wish) apptest.Request {
			return w.join(map[string]any{"rtc": map[string]any{"channel": w.channel, "uid": json.Number(w.uid), "role": w.role}, "rtm": map[string]any{"userId": w.rtm}, "chat": map[string]any{"userId": w.chat}})
		},
		needs:  []string{"rtc.channel", "rtc.uid", "rtc.role", "rtm.userId", "chat.userId"},
		tokens: []expected{{"rtc", edge.RTC, uidOf}, {"rtm", edge.RTM, rtmOf}, {"chat", edge.Chat, chatOf}},
	},
	{
		name: "rtc uid", ask: func(w *wish) apptest.Request { return w.inPath("rtc", w.channel, w.role, "uid", w.uid) },
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"rtcToken", edge.RTC, uidOf}},
	},
	{
		name: "rtc account", ask: func(w *wish) apptest.Request { return w.inPath("rtc", w.channel, w.role, "userAccount", w.account, "") },
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"rtcToken", edge.RTC, accountOf}},
	},
	{
		name: "rtm", ask: func(w *wish) apptest.Request { return w.inPath("rtm", w.rtm) },
		needs: []string{"rtm.userId"}, tokens: []expected{{"rtmToken", edge.RTM, rtmOf}},
	},
	{
		name: "rte", ask: func(w *wish) apptest.Request { return w.inPath("rte", w.channel, w.role, "uid", w.uid, w.rtm) },
		needs:  []string{"rtc.channel", "rtc.uid", "rtc.role", "rtm.userId"},
		tokens: []expected{{"rtcToken", edge.RTC, uidOf}, {"rtmToken", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "rte account", ask: func(w *wish) apptest.Request {
			return w.inPath("rte", w.channel, w.role, "userAccount", w.account, w.rtm)
		},
		needs:  []string{"rtc.channel", "rtc.account", "rtc.role", "rtm.userId"},
		tokens: []expected{{"rtcToken", edge.RTC, accountOf}, {"rtmToken", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "chat account", ask: func(w *wish) apptest.Request { return w.inPath("chat", "account", w.chat) },
		needs: []string{"chat.userId"}, tokens: []expected{{"chatToken", edge.Chat, chatOf}},
	},
	{
		name: "chat app", ask: func(w *wish) apptest.Request { return w.inPath("chat", "app") },
		operator: true, tokens: []expected{{name: "chatToken", leg: edge.Chat}},
	},
	{
		name: "getToken rtc", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "rtc", "channel": w.channel, "role": w.role, "uid": json.Number(w.uid)})
		},
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "getToken rtc account", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "rtc", "channel": w.channel, "role": w.role, "uid": w.account})
		},
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "getToken rtm", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "rtm", "uid": w.rtm})
		},
		needs: []string{"rtm.userId"}, tokens: []expected{{"token", edge.RTM, rtmOf}},
	},
	{
		name: "getToken rtm with a channel", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "rtm", "uid": w.rtm, "channel": w.channel})
		},
		needs: []string{"rtm.userId"}, asStream: []string{"rtc.channel"}, tokens: []expected{{"token", edge.RTM, rtmOf}}, stream: true,
	},
	{
		name: "getToken chat", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "chat", "uid": w.chat})
		},
		needs: []string{"chat.userId"}, tokens: []expected{{"token", edge.Chat, chatOf}},
	},
	{
		name: "getToken chat app", ask: func(w *wish) apptest.Request {
			return w.inBody("/getToken", map[string]any{"tokenType": "chat"})
		},
		operator: true, tokens: []expected{{name: "token", leg: edge.Chat}},
	},
	{
		name: "fetch_rtc_token", ask: func(w *wish) apptest.Request {
			return w.inBody("/fetch_rtc_token", map[string]any{"uid": json.Number(w.uid), "ChannelName": w.channel, "role": w.role})
		},
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "fetch_rtc_token_string", ask: func(w *wish) apptest.Request {
			return w.inBody("/fetch_rtc_token_string", map[string]any{"uid": w.account, "ChannelName": w.channel, "role": w.role})
		},
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "fetch_rtm_token", ask: func(w *wish) apptest.Request {
			return w.inBody("/fetch_rtm_token", map[string]any{"uid": w.rtm})
		},
		needs: []string{"rtm.userId"}, tokens: []expected{{"token", edge.RTM, rtmOf}},
	},
	{
		name: "access_token", ask: func(w *wish) apptest.Request {
			return w.inQuery("/access_token", url.Values{"channelName": {w.channel}, "uid": {w.uid}, "role": {w.role}})
		},
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"token", edge.RTC, uidOf}},
	},
	{
		name: "access_token account", ask: func(w *wish) apptest.Request {
			return w.inQuery("/access_token", url.Values{"channel": {w.channel}, "uid": {w.account}, "role": {w.role}})
		},
		needs: []string{"rtc.channel", "rtc.account", "rtc.role"}, tokens: []expected{{"token", edge.RTC, accountOf}},
	},
	{
		name: "rtcToken", ask: func(w *wish) apptest.Request {
			return w.inQuery("/rtcToken", url.Values{"channelName": {w.channel}, "uid": {w.uid}, "role": {w.role}})
		},
		needs: []string{"rtc.channel", "rtc.uid", "rtc.role"}, tokens: []expected{{"key", edge.RTC, uidOf}},
	},
	{
		name: "rtmToken", ask: func(w *wish) apptest.Request { return w.inQuery("/rtmToken", url.Values{"account": {w.rtm}}) },
		needs: []string{"rtm.userId"}, tokens: []expected{{"key", edge.RTM, rtmOf}},
	},
	{
		name: "chat user", ask: func(w *wish) apptest.Request { return w.inPath("chat", "user", w.chat, "token") },
		needs: []string{"chat.userId"}, tokens: []expected{{"text", edge.Chat, chatOf}},
	},
	{
		name: "chat app as text", ask: func(w *wish) apptest.Request { return w.inPath("chat", "app", "token") },
		operator: true, tokens: []expected{{name: "text", leg: edge.Chat}},
	},
}

// grantCase changes one field of the usual grants or of the usual wish. It names the field that the changed grants do
// not cover.
type grantCase struct {
	grant  grantChange
	wish   func(w *wish)
	denied string // the field that is not granted; empty if everything is granted
	// noStream is the RTC field that is not granted to the RTM user, so it cannot enter stream
	// channels; empty if it can.
	noStream string
	admin    bool
	life     int64 // the expected lifetime of the tokens in seconds; 0 means an hour
}

// grantChange sets one field of a service's grants, or if service is empty, of the grants
// themselves. A nil value removes the field. The zero grantChange changes nothing.
type grantChange struct {
	service, name string
	value         any
}

func (g grantChange) apply(grants map[string]any) {
	if g.service != "" {
		grants = grants[g.service].(map[string]any)
	}
	if g.value == nil {
		delete(grants, g.name)
	} else {
		grants[g.name] = g.value
	}
}

func channels(names ...any) grantChange  { return list("rtc", "channels", names) }
func uids(names ...any) grantChange      { return list("rtc", "uids", names) }
func accounts(names ...any) grantChange  { return list("rtc", "accounts", names) }
func roles(names ...any) grantChange     { return list("rtc", "roles", names) }
func rtmUsers(names ...any) grantChange  { return list("rtm", "users", names) }
func chatUsers(names ...any) grantChange { return list("chat", "users", names) }

func list(service, name string, names []any) grantChange {
	return grantChange{service, name, append([]any{}, names...)}
}

func set(name string, value any) grantChange { return grantChange{"", name, value} }

func without(service, name string) grantChange { return grantChange{service, name, nil} }

// grantCases returns all cases; the expiries are relative to the current time.
func grantCases() []grantCase {
	now := time.Now().Unix()
	wants := func(f func(w *wish)) func(w *wish) { return f }
	seconds := func(n int64) func(w *wish) { return func(w *wish) { w.ttl = n } }
	as := func(account string) func(w *wish) { return func(w *wish) { w.account = account } }
	uid := func(uid string) func(w *wish) { return func(w *wish) { w.uid = uid } }
	return []grantCase{
		{},
		{admin: true},
		{wish: wants(func(w *wish) { w.role = "subscriber" })},

		{grant: channels("weekly", "daily-1")},
		{grant: channels("daily-*")},
		{grant: channels("daily-1*")},
		{grant: channels("*")},
		{grant: channels("*"), wish: wants(func(w *wish) { w.channel = "*" })},
		{grant: channels("daily-*"), wish: wants(func(w *wish) { w.channel = "*" }), denied: "rtc.channel"},
		{grant: channels("**"), wish: wants(func(w *wish) { w.channel = "*" }), denied: "rtc.channel"},
		{grant: channels("daily-2"), denied: "rtc.channel"},
		{grant: channels("daily"), denied: "rtc.channel"},
		{grant: channels("daily-10", "daily-1 "), denied: "rtc.channel"},
		{grant: channels("Daily-1"), denied: "rtc.channel"},
		{grant: channels("dail*-1"), denied: "rtc.channel"},
		{grant: channels("*-1"), denied: "rtc.channel"},
		{grant: channels("weekly-*", "aily-*"), denied: "rtc.channel"},
		{grant: channels(), denied: "rtc.channel"},
		{grant: without("rtc", "channels"), denied: "rtc.channel"},
		{grant: without("rtc", "channels"), denied: "rtc.channel", admin: true}, // the scope "admin" grants no tokens
		{grant: without("", "rtc"), denied: "rtc.channel"},
		{grant: set("rtc", map[string]any{}), denied: "rtc.channel"},
		{wish: wants(func(w *wish) { w.channel = "daily-1*" }), denied: "rtc.channel"},
		{wish: wants(func(w *wish) { w.channel = "daily-1#" }), denied: "rtc.channel"},

		{grant: uids(7, "1001")},
		{grant: uids("10*")},
		{grant: uids("*")},
		{grant: uids(1002, 100, 10010), denied: "rtc.uid", noStream: "rtc.account"},
		{grant: uids("2*"), denied: "rtc.uid", noStream: "rtc.account"},
		{grant: uids(), denied: "rtc.uid", noStream: "rtc.account"},
		{grant: without("rtc", "uids"), denied: "rtc.uid", noStream: "rtc.account"},
		{wish: uid("10010"), denied: "rtc.uid"},
		{wish: uid("4294967295"), denied: "rtc.uid"},
		// A token for uid 0 works for every uid, so uid 0 must be granted explicitly.
		{wish: uid("0"), denied: "rtc.uid"},
		{grant: uids("1*", 1001), wish: uid("0"), denied: "rtc.uid"},
		{grant: uids(0), wish: uid("0"), noStream: "rtc.account"},

		{grant: accounts("bob", "ana")},
		{grant: accounts("an*")},
		{grant: accounts("*")},
		{grant: accounts("anab", "an", "Ana", "na*"), denied: "rtc.account"},
		{grant: accounts(), denied: "rtc.account"},
		{grant: without("rtc", "accounts"), denied: "rtc.account"},
		{wish: as("bob"), denied: "rtc.account"},

		{grant: roles("publisher")},
		{grant: roles("subscriber"), wish: wants(func(w *wish) { w.role = "subscriber" })},
		{grant: roles("subscriber"), denied: "rtc.role"},
		{grant: roles("publisher"), wish: wants(func(w *wish) { w.role = "subscriber" }), denied: "rtc.role"},
		{grant: roles(), denied: "rtc.role", noStream: "rtc.role"},
		{grant: without("rtc", "roles"), denied: "rtc.role", noStream: "rtc.role"},

		{grant: rtmUsers("bob", "1001")},
		{grant: rtmUsers("1*")},
		{grant: rtmUsers("*")},
		{grant: rtmUsers("1002", "100", "ana"), denied: "rtm.userId"},
		{grant: rtmUsers(), denied: "rtm.userId"},
		{grant: without("rtm", "users"), denied: "rtm.userId"},
		{grant: without("", "rtm"), denied: "rtm.userId"},

		{grant: chatUsers("bob", "ana")},
		{grant: chatUsers("a*")},
		{grant: chatUsers("*")},
		{grant: chatUsers("an", "anab"), denied: "chat.userId"},
		{grant: chatUsers(), denied: "chat.userId"},
		{grant: without("chat", "users"), denied: "chat.userId"},
		{grant: without("", "chat"), denied: "chat.userId"},

		{wish: seconds(60), life: 60},
		{wish: seconds(86400), life: 86400},
		{grant: set("maxTtl", 7200)},
		{grant: set("maxTtl", 600), life: 600},
		{grant: set("maxTtl", 600), wish: seconds(600), life: 600},
		{grant: set("maxTtl", 600), wish: seconds(30), life: 30},
		{grant: set("maxTtl", 600), wish: seconds(601), denied: "ttl"},
		{grant: set("maxTtl", 600), wish: seconds(86400), denied: "ttl"},
		{grant: set("maxTtl", 600), wish: seconds(601), denied: "ttl", admin: true},
		{grant: set("maxTtl", 86400*365), wish: seconds(86400), life: 86400},

		{grant: set("until", now+7200)},
		{grant: set("until", now+600), life: 600},
		{grant: set("until", now+600), wish: seconds(86400), life: 600},
		{grant: set("until", now+600), wish: seconds(60), life: 60},
		{grant: set("until", now+1), life: 1},
		{grant: set("until", now), denied: "until"},
		{grant: set("until", now-1), denied: "until"},
		{grant: set("until", 1), denied: "until", admin: true},
	}
}

// refusal returns the expected start of the refusal; empty if the request should be granted.
func (c *grantCase) refusal(g *giver) string {
	switch c.denied {
	case "ttl":
		return "ttl: the credential grants 600 seconds at most"
	case "until":
		return "the time that the credential grants is over"
	}
	if g.operator && !c.admin {
		return "Chat's app token wants"
	}
	if slices.Contains(g.needs, c.denied) {
		return c.denied + ": the credential does not grant this"
	}
	const stream = `the RTM token opens stream channels as RTC user "1001": `
	if slices.Contains(g.asStream, c.denied) {
		return stream + c.denied + ": the credential does not grant this"
	}
	if c.noStream != "" && g.stream {
		return stream + c.noStream + ": the credential does not grant this"
	}
	return ""
}

// TestGrantsAreHeld requests tokens from every endpoint under every grant: granted requests get exactly the granted
// token, and all other requests are refused.
func TestGrantsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		judge, err := edge.New(edge.Config{AppID: apptest.AppID, Certificate: apptest.Certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer judge.Close()
		cases, given, refused := 0, 0, 0
		issued := g.Metrics()["refresher_tokens_issued_total"]
		for _, c := range grantCases() {
			grants, w := usualGrants(), usualWish
			c.grant.apply(grants)
			if c.wish != nil {
				c.wish(&w)
			}
			change := map[string]any{"grants": grants, "scope": nil}
			if c.admin {
				change["scope"] = "admin"
			}
			for i := range givers {
				if cases++; testing.Short() && cases%4 != 0 {
					continue
				}
				giver := &givers[i]
				what := fmt.Sprintf("%s, granted %+v, wished %+v", giver.name, c.grant, w)
				a, tokens := ask(g, giver, &w, apptest.Pass(change))
				want := c.refusal(giver)
				minted := g.Metrics()["refresher_tokens_issued_total"] - issued
				issued += minted
				if want != "" {
					refused++
					if a.Code != "forbidden" || a.Message[:min(len(want), len(a.Message))] != want || minted != 0 ||
						a.Header == nil && a.Closed != protocol.CloseForbidden || a.Header != nil && a.Status != http.StatusForbidden {
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

// ask requests tokens, and returns them by the name of their field.
func ask(g *apptest.LoggedNode, from *giver, w *wish, credential string) (apptest.Answer, map[string]string) {
	g.T.Helper()
	tokens := make(map[string]string)
	a := g.Enter(from.ask(w), credential)
	for name, token := range map[string]*protocol.Token{"rtc": a.Joined.Tokens.RTC, "rtm": a.Joined.Tokens.RTM, "chat": a.Joined.Tokens.Chat} {
		if token != nil {
			tokens[name] = token.Token
		}
	}
	if a.Header == nil { // a join
		return a, tokens
	}
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

// check checks that a token grants the user, channel and role of the wish, and nothing else.
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
	if e.user == nil { // Chat's app token belongs to no user, so the fake edge has no call to join with it
		if err := token.Verify(apptest.Certificate, agora.Holder{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if channel == "*" {
		channel = "daily-1" // a token for "*" works in any channel
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

// checkStream checks an RTM token that also grants stream channels. TestStreamChannels checks its
// privileges there.
func (e *expected) checkStream(t *testing.T, what, text string, w *wish, life int64) {
	t.Helper()
	services, err := apptest.ServicesOf(text)
	user := apptest.RTM(e.user(w), 1)
	want := apptest.V007(apptest.RTC(w.channel, e.user(w), 1, 4), user)
	subscribes := apptest.V007(apptest.RTC(w.channel, e.user(w), 1), user)
	if err != nil || services != want && services != subscribes {
		t.Errorf("%s: %v, %v; want %v", what, services, err, want)
		return
	}
	token, err := agora.Parse(text)
	if got := int64(token.ExpiresAt - session.SecOf(time.Now())); err != nil || got != life {
		t.Errorf("%s: lives %d s, want %d", what, got, life)
	}
}

// TestNoTokenOutlivesItsGrant makes random requests for tokens until the grant expires: no token
// lives longer than the grant, and afterwards none is given.
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

// script is a client's grant and its actions. A duration of 0 means that it is not set.
type script struct {
	maxTTL, until, ttl int64 // seconds
	steps              []step
}

type step struct {
	action
	waitMs int64 // after it
}

// action is an action of a client, or of an operator on the client's session.
type action struct {
	name    string
	do      func(h *apptest.Holder)
	offline bool // the action needs no connection
}

func (a action) String() string { return a.name }

// actions has all actions. A disconnected client resumes instead, unless the action needs no
// connection.
var actions = []action{
	{name: "wait", do: func(*apptest.Holder) {}},
	{name: "renew", do: func(h *apptest.Holder) { h.Socket.Send(`{"type":"renew"}`) }},
	{name: "nack", do: func(h *apptest.Holder) {
		h.RefuseNext()
		h.Socket.Send(`{"type":"renew"}`)
	}},
	{name: "resume", do: resumes},
	{name: "drop", do: func(h *apptest.Holder) { _ = h.Socket.CloseNow() }},
	{name: "http", do: func(h *apptest.Holder) { h.OverHTTP() }, offline: true},
	{name: "publisher", do: changesRole("publisher"), offline: true},
	{name: "subscriber", do: changesRole("subscriber"), offline: true},
}

func resumes(h *apptest.Holder) {
	newest, joined, _, _ := h.State()
	h.Connect(apptest.ResumeText(joined, newest.Seq))
}

func changesRole(role string) func(h *apptest.Holder) {
	return func(h *apptest.Holder) {
		_, joined, _, _ := h.State()
		h.G.Admin("PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"`+role+`"}}`, nil)
	}
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
			rapid.SampledFrom(actions).Draw(r, "do"),
			rapid.Int64Range(0, 60_000).Draw(r, "ms"),
		}
	}), 0, 12).Draw(r, "steps")
	return s
}

// play runs the script and returns the number of tokens that it got.
func (s *script) play(t *testing.T) int {
	g := apptest.NewLoggedNode(t, func(c *app.Config) {
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
		switch _, _, ended, closed := h.State(); {
		case ended != "": // the session has ended, so the remaining steps are skipped
		case closed != 0 && !step.offline:
			resumes(h)
		default:
			step.do(h)
		}
		time.Sleep(time.Duration(step.waitMs) * time.Millisecond) // bubble
	}
	if left := h.Until - session.SecOf(time.Now()); left >= 0 {
		time.Sleep(time.Duration(left)*time.Second + 5*time.Second) // bubble
	}

	// After the session's end, its connection is closed, and a resume is refused.
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

// A role can be changed only to roles that the credential grants.
func TestRoleChangesStayWithinTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		for _, c := range []struct {
			granted  []any
			from, to string
			status   int
		}{
			{[]any{"publisher", "subscriber"}, "subscriber", "publisher", http.StatusOK},
			{[]any{"publisher", "subscriber"}, "publisher", "subscriber", http.StatusOK},
			{[]any{"subscriber"}, "subscriber", "publisher", http.StatusForbidden},
			{[]any{"publisher"}, "publisher", "subscriber", http.StatusOK}, // a publisher's credential also allows the lower role
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
			// A resume does not change the role.
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
