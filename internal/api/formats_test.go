//go:build !race

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

// tokensIn returns the content of the tokens in a classic endpoint's answer, by field.
func tokensIn(t *testing.T, body string) map[string]apptest.Opens {
	t.Helper()
	var tokens map[string]string
	if err := json.Unmarshal([]byte(body), &tokens); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	open := make(map[string]apptest.Opens)
	for name, text := range tokens {
		services, err := apptest.ServicesOf(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		open[name] = services
	}
	return open
}

var (
	publish7 = apptest.V007(apptest.RTC("c", "7", 1, 2, 3, 4))
	alone    = apptest.V007(apptest.RTM("ana", 1))
	stream   = apptest.V007(apptest.RTC("c", "ana", 1, 4), apptest.RTM("ana", 1))
)

// TestStreamChannels compares RTM tokens for a channel with those of the classic Go server, which
// also grant RTC in that channel: to join and to send data.
func TestStreamChannels(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for request, want := range map[apptest.Request]map[string]apptest.Opens{
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":"c"}`):         {"token": stream},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":"*"}`):         {"token": apptest.V007(apptest.RTC("*", "ana", 1, 4), apptest.RTM("ana", 1))},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":""}`):          {"token": alone},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana"}`):                       {"token": alone},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":7,"channel":"c"}`):             {"token": apptest.V007(apptest.RTC("c", "7", 1, 4), apptest.RTM("7", 1))},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"007","channel":"c"}`):         {"token": apptest.V007(apptest.RTC("c", "007", 1, 4), apptest.RTM("007", 1))},
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"99999999999","channel":"c"}`): {"token": apptest.V007(apptest.RTC("c", "99999999999", 1, 4), apptest.RTM("99999999999", 1))},
		apptest.Get("/rtm/ana"):                             {"rtmToken": alone},
		apptest.Get("/rte/c/publisher/uid/7"):               {"rtcToken": publish7, "rtmToken": apptest.V007(apptest.RTC("c", "7", 1, 4), apptest.RTM("7", 1))},
		apptest.Get("/rte/c/publisher/uid/7/ana/"):          {"rtcToken": publish7, "rtmToken": stream},
		apptest.Get("/rte/c/subscriber/uid/7/ana"):          {"rtcToken": apptest.V007(apptest.RTC("c", "7", 1)), "rtmToken": stream},
		apptest.Get("/rte/c/publisher/uid/0/ana"):           {"rtcToken": apptest.V007(apptest.RTC("c", "", 1, 2, 3, 4)), "rtmToken": stream},
		apptest.Get("/rte/c/publisher/userAccount/bob/ana"): {"rtcToken": apptest.V007(apptest.RTC("c", "bob", 1, 2, 3, 4)), "rtmToken": stream},
	} {
		response, text := n.Do(request.Method, request.Path, request.Body)
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", request, response.StatusCode, text)
			continue
		}
		if got := tokensIn(t, text); !maps.Equal(got, want) {
			t.Errorf("%s: got %+v, want %+v", request, got, want)
		}
	}
}

// An RTM user whose grant lacks the role publisher can only join stream channels.
func TestStreamChannelsWantTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		grants := map[string]any{
			"rtc": map[string]any{"channels": []any{"c"}, "accounts": []any{"ana"}, "roles": []any{"subscriber"}},
			"rtm": map[string]any{"users": []any{"ana"}},
		}
		credential := apptest.Pass(map[string]any{"grants": grants, "scope": nil})
		for _, request := range []apptest.Request{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":"c"}`), apptest.Get("/rte/c/subscriber/userAccount/ana")} {
			r, text := g.Visit(request.Method, request.Path, request.Body, "Authorization", "Bearer "+credential)
			if want := apptest.V007(apptest.RTC("c", "ana", 1), apptest.RTM("ana", 1)); r.StatusCode != http.StatusOK || !slices.Contains(slices.Collect(maps.Values(tokensIn(t, text))), want) {
				t.Errorf("%s: %d %v, want %v", request, r.StatusCode, tokensIn(t, text), want)
			}
		}
	})
}

// Approval is requested for the RTC user of stream channels as well, but only once if that is the
// user of the call.
func TestStreamChannelsAreAskedFor(t *testing.T) {
	n, b, credential := apptest.Supervised(t, time.Minute)
	b.DecideBy(func(q apptest.ApprovalRequest) (bool, session.UnixSec) { return q.RTC.Account != "eve", 0 })
	for path, asked := range map[string]struct{ requests, status int }{
		"/rte/daily/publisher/userAccount/ana/ana": {1, http.StatusOK},
		"/rte/daily/publisher/uid/7/ana":           {2, http.StatusOK},
		"/rte/daily/publisher/uid/7/eve":           {3, http.StatusForbidden}, // the publisher is denied, so the subscriber is requested, too
	} {
		before := len(b.All())
		r, text := n.Request(http.MethodGet, "http://"+n.App.Addr().String()+path, "", "Authorization", "Bearer "+credential)
		if got := len(b.All()) - before; r.StatusCode != asked.status || got != asked.requests {
			t.Errorf("%s: %d %s after %d approval requests, want %+v", path, r.StatusCode, text, got, asked)
		}
	}
}

// If the back end denies the role publisher, the RTM user can only join stream channels, as if its
// credential lacked the role.
func TestStreamChannelsWantTheBackEnd(t *testing.T) {
	n, b, credential := apptest.Supervised(t, time.Minute)
	b.DecideBy(func(q apptest.ApprovalRequest) (bool, session.UnixSec) { return q.RTC.Role == "subscriber", 0 })
	for _, request := range []apptest.Request{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":"daily"}`), apptest.Get("/rte/daily/subscriber/userAccount/ana")} {
		r, text := n.Request(request.Method, "http://"+n.App.Addr().String()+request.Path, request.Body, "Authorization", "Bearer "+credential)
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", request, r.StatusCode, text)
			continue
		}
		if want := apptest.V007(apptest.RTC("daily", "ana", 1), apptest.RTM("ana", 1)); !slices.Contains(slices.Collect(maps.Values(tokensIn(t, text))), want) {
			t.Errorf("%s: %v, want %v", request, tokensIn(t, text), want)
		}
	}
}

// with adds a query to a request.
func with(r apptest.Request, query string) apptest.Request {
	r.Path += query
	return r
}

// The token format is the one in the request, else in the credential, else the operator's default.
func TestTokenFormatOfRequests(t *testing.T) {
	var (
		single  = apptest.V007(apptest.RTC("c", "7", 1, 2, 3, 4), apptest.RTM("ana", 1))
		rtc006  = apptest.V006(apptest.RTC("", "", 1, 2, 3, 4))
		rtm006  = apptest.V006(apptest.RTM("", 1000))
		rte     = apptest.Get("/rte/c/publisher/uid/7/ana")
		rtcPath = apptest.Get("/rtc/c/publisher/uid/7")
	)
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.Policy.DefaultFormat = session.Format006
		})
		for _, c := range []struct {
			request apptest.Request
			claim   string
			want    map[string]apptest.Opens
		}{
			{rte, "", map[string]apptest.Opens{"rtcToken": rtc006, "rtmToken": rtm006}},
			{rte, "007", map[string]apptest.Opens{"rtcToken": publish7, "rtmToken": stream}},
			{rte, "007-single", map[string]apptest.Opens{"rtcToken": single, "rtmToken": single}},
			{with(rte, "?tokenFormat=007"), "006", map[string]apptest.Opens{"rtcToken": publish7, "rtmToken": stream}},
			{with(rte, "?tokenFormat=006"), "006", map[string]apptest.Opens{"rtcToken": rtc006, "rtmToken": rtm006}},
			{with(rte, "?tokenFormat=006"), "", map[string]apptest.Opens{"rtcToken": rtc006, "rtmToken": rtm006}},
			{with(rte, "?tokenFormat=007-single"), "006", map[string]apptest.Opens{"rtcToken": single, "rtmToken": single}},
			{rtcPath, "", map[string]apptest.Opens{"rtcToken": rtc006}},
			{rtcPath, "007-single", map[string]apptest.Opens{"rtcToken": publish7}},
			{with(rtcPath, "?tokenFormat=007"), "", map[string]apptest.Opens{"rtcToken": publish7}},
			{apptest.Post("/getToken?tokenFormat=007", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"7"}`), "", map[string]apptest.Opens{"token": publish7}},
			{apptest.Post("/getToken?tokenFormat=007", `{"tokenType":"rtm","channel":"c","uid":"ana"}`), "", map[string]apptest.Opens{"token": stream}},
			{apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana"}`), "", map[string]apptest.Opens{"token": rtm006}},
			{apptest.Get("/chat/account/ana?tokenFormat=006"), "006", map[string]apptest.Opens{"chatToken": apptest.V007(apptest.Chat("ana", 1))}}, // Chat has no 006 format
			{apptest.Get("/chat/app?tokenFormat=006"), "006", map[string]apptest.Opens{"chatToken": apptest.V007(apptest.Chat("", 2))}},
		} {
			grants := apptest.AllGrants()
			if c.claim != "" {
				grants["tokenFormat"] = c.claim
			}
			r, text := g.Visit(c.request.Method, c.request.Path, c.request.Body, "Authorization", "Bearer "+apptest.Pass(map[string]any{"grants": grants}))
			if r.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", c.request, r.StatusCode, text)
				continue
			}
			if got := tokensIn(t, text); !maps.Equal(got, c.want) {
				t.Errorf("%s with %q granted: got %v, want %v", c.request, c.claim, got, c.want)
			}
		}
		for request, want := range map[apptest.Request]string{
			with(rtcPath, "?tokenFormat=007-single"):                                                   "tokenFormat: 007-single is one token for RTC and RTM; ask for both, or leave it out",
			apptest.Get("/rtm/ana?tokenFormat=007-single"):                                             "tokenFormat: 007-single is one token for RTC and RTM; ask for both, or leave it out",
			with(rte, "?tokenFormat=005"):                                                              `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			with(rte, "?tokenFormat="):                                                                 `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			apptest.Get("/chat/app?tokenFormat=005"):                                                   `tokenFormat: want "007", "006", or "007-single" for one token that opens RTC and RTM`,
			apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana","channel":"c"}`):                 "channel: a token of version 006 opens RTM alone; leave the channel out, or ask for tokenFormat=007",
			apptest.Post("/getToken?tokenFormat=006", `{"tokenType":"rtm","uid":"ana","channel":"c"}`): "channel: a token of version 006 opens RTM alone; leave the channel out, or ask for tokenFormat=007",
		} {
			r, text := g.Visit(request.Method, request.Path, request.Body, "Authorization", "Bearer "+apptest.Pass(nil))
			var refusal struct{ Error string }
			if err := json.Unmarshal([]byte(text), &refusal); err != nil || r.StatusCode != http.StatusBadRequest || refusal.Error != want {
				t.Errorf("%s: %d %s, want %s", request, r.StatusCode, text, want)
			}
		}
	})
}

// Only a credential or the operator can choose format 006, because a 006 token for one channel and
// user can be changed into one for another channel or user.
func TestNoRequestLowersTheFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, claim := range []string{"", "007", "007-single"} {
			g := apptest.NewLoggedNode(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				if claim != "" {
					c.Policy.DefaultFormat = session.Format006 // the credential's format takes precedence over this one
				}
			})
			grants := apptest.AllGrants()
			if claim != "" {
				grants["tokenFormat"] = claim
			}
			credential := apptest.Pass(map[string]any{"grants": grants})
			for _, request := range []apptest.Request{
				apptest.Get("/rtc/c/publisher/uid/7?tokenFormat=006"), apptest.Get("/rte/c/publisher/uid/7/ana?tokenFormat=006"),
				apptest.Post("/getToken?tokenFormat=006", `{"tokenType":"rtc","channel":"c","uid":"7"}`),
				apptest.Post("/fetch_rtc_token?tokenFormat=006", `{"ChannelName":"c","uid":7}`), apptest.Get("/access_token?channelName=c&uid=7&tokenFormat=006"),
			} {
				r, text := g.Visit(request.Method, request.Path, request.Body, "Authorization", "Bearer "+credential)
				if r.StatusCode != http.StatusForbidden || !strings.Contains(text, "does not grant 006") {
					t.Errorf("%s, granted %q: %d %s", request, claim, r.StatusCode, text)
				}
			}
		}
	})
}

// A session keeps the token format of its join: at renewals, after a resume on a node with another
// default, and when renewed there over HTTP, with a store and without.
func TestTokenFormatOfSessions(t *testing.T) {
	var (
		single = apptest.V007(apptest.RTC("c", "7", 1, 2, 3, 4), apptest.RTM("ana", 1))
		rtm006 = apptest.V006(apptest.RTM("", 1000))
		rtc006 = apptest.V006(apptest.RTC("", "", 1, 2, 3, 4))
	)
	for _, away := range []bool{false, true} {
		for wanted, want := range map[string][2]apptest.Opens{
			``:                            {publish7, alone},
			`"tokenFormat":"007",`:        {publish7, alone},
			`"tokenFormat":"006",`:        {rtc006, rtm006},
			`"tokenFormat":"007-single",`: {single, single},
		} {
			t.Run(fmt.Sprintf("%s store away %t", wanted, away), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := apptest.NewCluster(t, 2, func(i int, c *app.Config) {
						if (i == 1) != (want[0] == rtc006) { // a request gets 006 only from a node where it is the default
							c.Policy.DefaultFormat = session.Format006
						}
					})
					check := func(what string, tokens protocol.Tokens) {
						t.Helper()
						rtc, err1 := apptest.ServicesOf(tokens.RTC.Token)
						rtm, err2 := apptest.ServicesOf(tokens.RTM.Token)
						chat, err3 := apptest.ServicesOf(tokens.Chat.Token)
						if err1 != nil || err2 != nil || err3 != nil || [2]apptest.Opens{rtc, rtm} != want || chat != apptest.V007(apptest.Chat("ana", 1)) {
							t.Errorf("%s: %v | %v | %v (%v, %v, %v), want %v", what, rtc, rtm, chat, err1, err2, err3, want)
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
