package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/web/demo/edge"
)

// tokensIn says what the tokens in the answer of a classic endpoint open, by name.
func tokensIn(t *testing.T, body string) map[string]string {
	t.Helper()
	var tokens map[string]string
	if err := json.Unmarshal([]byte(body), &tokens); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for name, text := range tokens {
		services, err := apptest.ServicesOf(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tokens[name] = services
	}
	return tokens
}

const (
	publish7 = `007 rtc "c" "7" 1 2 3 4`
	alone    = `007 rtm "ana" 1`
	stream   = `007 rtc "c" "ana" 1 4, rtm "ana" 1`
)

// TestStreamChannels holds RTM tokens for a channel to those of the classic Go
// server, which open RTC in it too, to join and to send data.
func TestStreamChannels(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for request, want := range map[string]map[string]string{
		`POST /getToken {"tokenType":"rtm","uid":"ana","channel":"c"}`:         {"token": stream},
		`POST /getToken {"tokenType":"rtm","uid":"ana","channel":"*"}`:         {"token": `007 rtc "*" "ana" 1 4, rtm "ana" 1`},
		`POST /getToken {"tokenType":"rtm","uid":"ana","channel":""}`:          {"token": alone},
		`POST /getToken {"tokenType":"rtm","uid":"ana"}`:                       {"token": alone},
		`POST /getToken {"tokenType":"rtm","uid":7,"channel":"c"}`:             {"token": `007 rtc "c" "7" 1 4, rtm "7" 1`},
		`POST /getToken {"tokenType":"rtm","uid":"007","channel":"c"}`:         {"token": `007 rtc "c" "007" 1 4, rtm "007" 1`},
		`POST /getToken {"tokenType":"rtm","uid":"99999999999","channel":"c"}`: {"token": `007 rtc "c" "99999999999" 1 4, rtm "99999999999" 1`},
		"GET /rtm/ana":                             {"rtmToken": alone},
		"GET /rte/c/publisher/uid/7":               {"rtcToken": publish7, "rtmToken": `007 rtc "c" "7" 1 4, rtm "7" 1`},
		"GET /rte/c/publisher/uid/7/ana/":          {"rtcToken": publish7, "rtmToken": stream},
		"GET /rte/c/subscriber/uid/7/ana":          {"rtcToken": `007 rtc "c" "7" 1`, "rtmToken": stream},
		"GET /rte/c/publisher/uid/0/ana":           {"rtcToken": `007 rtc "c" "" 1 2 3 4`, "rtmToken": stream},
		"GET /rte/c/publisher/userAccount/bob/ana": {"rtcToken": `007 rtc "c" "bob" 1 2 3 4`, "rtmToken": stream},
	} {
		method, path, body := apptest.SplitRequest(request)
		response, text := n.Do(method, path, body)
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", request, response.StatusCode, text)
			continue
		}
		if got := tokensIn(t, text); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", request, got, want)
		}
	}
}

// TestStreamChannelsWantTheRole has an RTM user who is not granted to publish join
// stream channels, and no more.
func TestStreamChannelsWantTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewGuarded(t, apptest.WithCredentials)
		grants := map[string]any{
			"rtc": map[string]any{"channels": []any{"c"}, "accounts": []any{"ana"}, "roles": []any{"subscriber"}},
			"rtm": map[string]any{"users": []any{"ana"}},
		}
		credential := apptest.Pass(map[string]any{"grants": grants, "scope": nil})
		for _, request := range []string{`POST /getToken {"tokenType":"rtm","uid":"ana","channel":"c"}`, "GET /rte/c/subscriber/userAccount/ana"} {
			method, path, body := apptest.SplitRequest(request)
			r, text := g.Visit(method, path, body, "Authorization", "Bearer "+credential)
			if want := `007 rtc "c" "ana" 1, rtm "ana" 1`; r.StatusCode != http.StatusOK || !slices.Contains(slices.Collect(maps.Values(tokensIn(t, text))), want) {
				t.Errorf("%s: %d %v, want %s", request, r.StatusCode, tokensIn(t, text), want)
			}
		}
	})
}

// TestStreamChannelsAreAskedFor has the back end be asked about the RTC user of
// stream channels as well, once where that is the user of the call.
func TestStreamChannelsAreAskedFor(t *testing.T) {
	n, b, credential := apptest.Supervised(t, time.Minute)
	b.DecideBy(func(q apptest.Question) (bool, session.UnixSec) { return q.RTC.Account != "eve", 0 })
	for path, asked := range map[string]struct{ questions, status int }{
		"/rte/daily/publisher/userAccount/ana/ana": {1, http.StatusOK},
		"/rte/daily/publisher/uid/7/ana":           {2, http.StatusOK},
		"/rte/daily/publisher/uid/7/eve":           {3, http.StatusForbidden}, // as publisher, and as subscriber
	} {
		before := len(b.All())
		r, text := n.Request(http.MethodGet, "http://"+n.App.Addr().String()+path, "", "Authorization", "Bearer "+credential)
		if got := len(b.All()) - before; r.StatusCode != asked.status || got != asked.questions {
			t.Errorf("%s: %d %s after %d questions, want %+v", path, r.StatusCode, text, got, asked)
		}
	}
}

// TestStreamChannelsWantTheBackEnd has an RTM user whom the back end does not let publish
// join stream channels, and no more, like one whose credential lacks the role.
func TestStreamChannelsWantTheBackEnd(t *testing.T) {
	n, b, credential := apptest.Supervised(t, time.Minute)
	b.DecideBy(func(q apptest.Question) (bool, session.UnixSec) { return q.RTC.Role == "subscriber", 0 })
	for _, request := range []string{`POST /getToken {"tokenType":"rtm","uid":"ana","channel":"daily"}`, "GET /rte/daily/subscriber/userAccount/ana"} {
		method, path, body := apptest.SplitRequest(request)
		r, text := n.Request(method, "http://"+n.App.Addr().String()+path, body, "Authorization", "Bearer "+credential)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", request, r.StatusCode, text)
			continue
		}
		if want := `007 rtc "daily" "ana" 1, rtm "ana" 1`; !slices.Contains(slices.Collect(maps.Values(tokensIn(t, text))), want) {
			t.Errorf("%s: %v, want %s", request, tokensIn(t, text), want)
		}
	}
}

// TestTokenFormatOfRequests has requests choose the format of their tokens, else
// their credentials, else the operator.
func TestTokenFormatOfRequests(t *testing.T) {
	const (
		single  = `007 rtc "c" "7" 1 2 3 4, rtm "ana" 1`
		rtc006  = "006 rtc 1 2 3 4"
		rtm006  = "006 rtm 1000"
		rte     = "GET /rte/c/publisher/uid/7/ana"
		rtcPath = "GET /rtc/c/publisher/uid/7"
	)
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewGuarded(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.Policy.DefaultFormat = session.Format006
		})
		for _, c := range []struct {
			request, claim string
			want           map[string]string
		}{
			{rte, "", map[string]string{"rtcToken": rtc006, "rtmToken": rtm006}},
			{rte, "007", map[string]string{"rtcToken": publish7, "rtmToken": stream}},
			{rte, "007-single", map[string]string{"rtcToken": single, "rtmToken": single}},
			{rte + "?tokenFormat=007", "006", map[string]string{"rtcToken": publish7, "rtmToken": stream}},
			{rte + "?tokenFormat=006", "006", map[string]string{"rtcToken": rtc006, "rtmToken": rtm006}},
			{rte + "?tokenFormat=006", "", map[string]string{"rtcToken": rtc006, "rtmToken": rtm006}},
			{rte + "?tokenFormat=007-single", "006", map[string]string{"rtcToken": single, "rtmToken": single}},
			{rtcPath, "", map[string]string{"rtcToken": rtc006}},
			{rtcPath, "007-single", map[string]string{"rtcToken": publish7}},
			{rtcPath + "?tokenFormat=007", "", map[string]string{"rtcToken": publish7}},
			{`POST /getToken?tokenFormat=007 {"tokenType":"rtc","channel":"c","role":"publisher","uid":"7"}`, "", map[string]string{"token": publish7}},
			{`POST /getToken?tokenFormat=007 {"tokenType":"rtm","channel":"c","uid":"ana"}`, "", map[string]string{"token": stream}},
			{`POST /getToken {"tokenType":"rtm","uid":"ana"}`, "", map[string]string{"token": rtm006}},
			{"GET /chat/account/ana?tokenFormat=006", "006", map[string]string{"chatToken": `007 chat "ana" 1`}}, // Chat has no other
			{"GET /chat/app?tokenFormat=006", "006", map[string]string{"chatToken": `007 chat "" 2`}},
		} {
			grants := apptest.AllGrants()
			if c.claim != "" {
				grants["tokenFormat"] = c.claim
			}
			method, path, body := apptest.SplitRequest(c.request)
			r, text := g.Visit(method, path, body, "Authorization", "Bearer "+apptest.Pass(map[string]any{"grants": grants}))
			if r.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", c.request, r.StatusCode, text)
				continue
			}
			if got := tokensIn(t, text); !maps.Equal(got, c.want) {
				t.Errorf("%s with %q granted: got %v, want %v", c.request, c.claim, got, c.want)
			}
		}
		for request, want := range map[string]string{
			rtcPath + "?tokenFormat=007-single":                                            "tokenFormat: 007-single is one token for RTC and RTM; ask for both, or leave it out",
			"GET /rtm/ana?tokenFormat=007-single":                                          "tokenFormat: 007-single is one token for RTC and RTM; ask for both, or leave it out",
			rte + "?tokenFormat=005":                                                       `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			rte + "?tokenFormat=":                                                          `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			"GET /chat/app?tokenFormat=005":                                                `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			`POST /getToken {"tokenType":"rtm","uid":"ana","channel":"c"}`:                 "channel: a token of version 006 opens RTM alone; leave the channel out, or ask for tokenFormat=007",
			`POST /getToken?tokenFormat=006 {"tokenType":"rtm","uid":"ana","channel":"c"}`: "channel: a token of version 006 opens RTM alone; leave the channel out, or ask for tokenFormat=007",
		} {
			method, path, body := apptest.SplitRequest(request)
			r, text := g.Visit(method, path, body, "Authorization", "Bearer "+apptest.Pass(nil))
			var refusal struct{ Error string }
			if err := json.Unmarshal([]byte(text), &refusal); err != nil || r.StatusCode != http.StatusBadRequest || refusal.Error != want {
				t.Errorf("%s: %d %s, want %s", request, r.StatusCode, text, want)
			}
		}
	})
}

// TestNoRequestLowersTheFormat: only a credential, or the operator, can choose 006, whose
// token for one channel and user can be made into one for others.
func TestNoRequestLowersTheFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, claim := range []string{"", "007", "007-single"} {
			g := apptest.NewGuarded(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				if claim != "" {
					c.Policy.DefaultFormat = session.Format006 // the credential's counts
				}
			})
			grants := apptest.AllGrants()
			if claim != "" {
				grants["tokenFormat"] = claim
			}
			credential := apptest.Pass(map[string]any{"grants": grants})
			for _, request := range []string{
				"GET /rtc/c/publisher/uid/7?tokenFormat=006", "GET /rte/c/publisher/uid/7/ana?tokenFormat=006",
				`POST /getToken?tokenFormat=006 {"tokenType":"rtc","channel":"c","uid":"7"}`,
				`POST /fetch_rtc_token?tokenFormat=006 {"ChannelName":"c","uid":7}`, "GET /access_token?channelName=c&uid=7&tokenFormat=006",
			} {
				method, path, body := apptest.SplitRequest(request)
				r, text := g.Visit(method, path, body, "Authorization", "Bearer "+credential)
				if r.StatusCode != http.StatusForbidden || !strings.Contains(text, "does not grant 006") {
					t.Errorf("%s, granted %q: %d %s", request, claim, r.StatusCode, text)
				}
			}
		}
	})
}

// TestTokenFormatOfSessions has a session keep the format that it was joined with:
// when it is renewed, resumed on another node whose operator prefers another, and
// renewed there over HTTP, with a store and without.
func TestTokenFormatOfSessions(t *testing.T) {
	const (
		single = `007 rtc "c" "7" 1 2 3 4, rtm "ana" 1`
		rtm006 = "006 rtm 1000"
		rtc006 = "006 rtc 1 2 3 4"
	)
	for _, away := range []bool{false, true} {
		for wanted, want := range map[string][2]string{
			``:                            {publish7, alone},
			`"tokenFormat":"007",`:        {publish7, alone},
			`"tokenFormat":"006",`:        {rtc006, rtm006},
			`"tokenFormat":"007-single",`: {single, single},
		} {
			t.Run(fmt.Sprintf("%s store away %t", wanted, away), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := apptest.NewOperated(t, 2, func(i int, c *app.Config) {
						if (i == 1) != (want[0] == rtc006) { // only the operator can let a request have 006
							c.Policy.DefaultFormat = session.Format006
						}
					})
					check := func(what string, tokens protocol.Tokens) {
						t.Helper()
						rtc, err1 := apptest.ServicesOf(tokens.RTC.Token)
						rtm, err2 := apptest.ServicesOf(tokens.RTM.Token)
						chat, err3 := apptest.ServicesOf(tokens.Chat.Token)
						if err1 != nil || err2 != nil || err3 != nil || [2]string{rtc, rtm} != want || chat != `007 chat "ana" 1` {
							t.Errorf("%s: %s | %s | %s (%v, %v, %v), want %s", what, rtc, rtm, chat, err1, err2, err3, want)
						}
						for leg, token := range map[edge.Leg]string{edge.RTC: tokens.RTC.Token, edge.RTM: tokens.RTM.Token, edge.Chat: tokens.Chat.Token} {
							who := edge.JoinRequest{Leg: leg, User: "ana", Token: token}
							if leg == edge.RTC {
								who.Channel, who.User = "c", "7"
							}
							call, err := s.Edge.Join(who)
							if err != nil {
								t.Errorf("%s: the judge says %v", what, err)
								continue
							}
							_ = call.Leave()
						}
						if one := tokens.RTC.Token == tokens.RTM.Token; one != (want[0] == want[1]) {
							t.Errorf("%s: one token for both: %t", what, one)
						}
					}
					l := s.Open(s.Nodes[0].Address, apptest.JoinMessage(s.User, wanted+
						`"ttl":600,"rtc":{"channel":"c","uid":7,"role":"publisher"},"rtm":{"userId":"ana"},"chat":{"userId":"ana"}`))
					check("joined", l.Joined().Tokens)
					check("renewed", l.Await("token-privilege-will-expire").Tokens)
					s.Away.Store(away)
					l.HangUp()
					again := s.Open(s.Nodes[1].Address, l.ResumeMessage())
					check("resumed", again.Joined().Tokens)
					check("renewed elsewhere", again.Await("token-privilege-will-expire").Tokens)
					_, text := s.Ask(0, again.Key, http.MethodPost, "/v1/sessions/"+again.Session+"/renew", "")
					check("renewed over HTTP", apptest.DecodeMessage(t, text).Tokens)
				})
			})
		}
	}
}
