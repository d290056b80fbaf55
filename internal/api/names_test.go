package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/internal/agora"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// namedRequest is a request or a join for a token. Its format has %s in place of the user name.
type namedRequest struct {
	join    string
	request apptest.Request
	field   string // the field of the answer that has the token
}

// ask returns the token or the refusal.
func (e namedRequest) ask(n *apptest.Node, name string) (token, refusal string) {
	n.T.Helper()
	if e.join != "" {
		s := n.Dial()
		s.Send(`{"type":"join",` + fmt.Sprintf(e.join, name) + `}`)
		m, _ := s.Next()
		for _, t := range []*protocol.Token{m.Tokens.RTC, m.Tokens.RTM, m.Tokens.Chat} {
			if t != nil {
				return t.Token, ""
			}
		}
		return "", m.Message
	}
	r := e.request
	for _, part := range []*string{&r.Path, &r.Body} {
		if strings.Contains(*part, "%s") {
			*part = fmt.Sprintf(*part, name)
		}
	}
	response, text := n.Do(r.Method, r.Path, r.Body)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		n.T.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Sprint(answer["error"])
	}
	return fmt.Sprint(answer[e.field]), ""
}

// named is the expected result for a name: the user in the token, or how the refusal begins.
type named struct{ user, refusal string }

// All endpoints accept the same names, and inspect finds no problem in a token that was made.
func TestOneRuleForNames(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for _, kind := range []struct {
		requests []namedRequest
		names    map[string]named
	}{
		{
			[]namedRequest{
				{join: `"rtc":{"channel":"c","account":"%s"}`},
				{request: apptest.Get("/rtc/c/publisher/userAccount/%s"), field: "rtcToken"},
				{request: apptest.Get("/rte/c/publisher/userAccount/%s/ana"), field: "rtcToken"},
			},
			map[string]named{"ana": {user: "ana"}, "123": {user: "123"}, "00": {user: "00"}, "0": {refusal: "rtc.account: is \"0\""}, "null": {user: "null"}},
		},
		{
			[]namedRequest{
				{join: `"rtc":{"channel":"c","uid":%s}`},
				{request: apptest.Get("/rtc/c/publisher/uid/%s"), field: "rtcToken"},
				{request: apptest.Get("/rte/c/publisher/uid/%s/ana"), field: "rtcToken"},
				{request: apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":1,"uid":"%s"}`), field: "token"},
				{request: apptest.Post("/fetch_rtc_token", `{"ChannelName":"c","role":1,"uid":%s}`), field: "token"},
				{request: apptest.Post("/fetch_rtc_token_string", `{"ChannelName":"c","role":1,"uid":"%s"}`), field: "token"},
				{request: apptest.Get("/access_token?channelName=c&uid=%s"), field: "token"},
				{request: apptest.Get("/rtcToken?channelName=c&uid=%s"), field: "key"},
			},
			map[string]named{"0": {user: ""}, "123": {user: "123"}, "4294967295": {user: "4294967295"}},
		},
		{
			[]namedRequest{
				{join: `"rtc":{"channel":"%s","uid":1}`},
				{request: apptest.Get("/rtc/%s/publisher/uid/1"), field: "rtcToken"},
				{request: apptest.Get("/rte/%s/publisher/uid/1"), field: "rtcToken"},
				{request: apptest.Post("/getToken", `{"tokenType":"rtc","channel":"%s","role":1,"uid":1}`), field: "token"},
				{request: apptest.Post("/fetch_rtc_token", `{"ChannelName":"%s","role":1,"uid":1}`), field: "token"},
				{request: apptest.Get("/access_token?channelName=%s&uid=1"), field: "token"},
				{request: apptest.Get("/rtcToken?channelName=%s&uid=1"), field: "key"},
			},
			map[string]named{"*": {user: "1"}, "**": {refusal: "rtc.channel: "}, "daily-*": {refusal: "rtc.channel: "}, "0": {user: "1"}},
		},
		{
			[]namedRequest{
				{join: `"rtm":{"userId":"%s"}`},
				{request: apptest.Get("/rtm/%s"), field: "rtmToken"},
				{request: apptest.Get("/rte/c/publisher/uid/1/%s"), field: "rtmToken"},
				{request: apptest.Post("/getToken", `{"tokenType":"rtm","uid":"%s"}`), field: "token"},
				{request: apptest.Post("/fetch_rtm_token", `{"uid":"%s"}`), field: "token"},
				{request: apptest.Get("/rtmToken?account=%s"), field: "key"},
			},
			map[string]named{
				"ana": {user: "ana"}, "123": {user: "123"}, "00": {user: "00"},
				"0": {refusal: "rtm.userId: is \"0\""}, "null": {refusal: "rtm.userId: is \"null\""}, "_x": {refusal: "rtm.userId: begins"},
			},
		},
		{
			[]namedRequest{
				{join: `"chat":{"userId":"%s"}`},
				{request: apptest.Get("/chat/account/%s"), field: "chatToken"},
				{request: apptest.Post("/getToken", `{"tokenType":"chat","uid":"%s"}`), field: "token"},
			},
			map[string]named{"ana": {user: "ana"}, "0": {user: "0"}, "null": {user: "null"}, "a=b": {refusal: "chat.userId: "}},
		},
	} {
		for name, want := range kind.names {
			for _, e := range kind.requests {
				token, refusal := e.ask(n, name)
				if want.refusal != "" {
					if token != "" || !strings.HasPrefix(refusal, want.refusal) {
						t.Errorf("%+v of %q: token %q, refusal %q, want %q…", e, name, token, refusal, want.refusal)
					}
					continue
				}
				parsed, err := agora.Parse(token)
				if err != nil {
					t.Errorf("%+v of %q: %v, refusal %q", e, name, err, refusal)
					continue
				}
				if got := parsed.Services[0].User; got != want.user {
					t.Errorf("%+v of %q: for user %q, want %q", e, name, got, want.user)
				}
				use := agora.Use{AppID: apptest.AppID, Holder: agora.Holder{Channel: parsed.Services[0].Channel, User: want.user}}
				if err := agora.Explain(token, use, []string{apptest.Certificate}, time.Now()).Err(); err != nil {
					t.Errorf("%+v of %q: inspect says %v", e, name, err)
				}
			}
		}
	}
}
