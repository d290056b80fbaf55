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

// namedRequest is a way to ask for a token of a name; %s is the name.
type namedRequest struct {
	request string // or a join
	field   string // the token in the answer
}

// ask gives the token, or the refusal.
func (e namedRequest) ask(n *apptest.Node, name string) (token, refusal string) {
	n.T.Helper()
	request := fmt.Sprintf(e.request, name)
	if strings.HasPrefix(request, "{") {
		s := n.Dial()
		s.Send(request)
		m, _ := s.Next()
		for _, t := range []*protocol.Token{m.Tokens.RTC, m.Tokens.RTM, m.Tokens.Chat} {
			if t != nil {
				return t.Token, ""
			}
		}
		return "", m.Message
	}
	method, path, body := apptest.SplitRequest(request)
	response, text := n.Do(method, path, body)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		n.T.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Sprint(answer["error"])
	}
	return fmt.Sprint(answer[e.field]), ""
}

// One rule says which names there are, whichever way they come in; and a token that is
// made is one that inspect has nothing to say against.
func TestOneRuleForNames(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for _, kind := range []struct {
		requests []namedRequest
		names    map[string]string // to the user, or after "!" to how the refusal begins
	}{
		{
			[]namedRequest{
				{request: `{"type":"join","rtc":{"channel":"c","account":"%s"}}`},
				{request: "GET /rtc/c/publisher/userAccount/%s", field: "rtcToken"},
				{request: "GET /rte/c/publisher/userAccount/%s/ana", field: "rtcToken"},
			},
			map[string]string{"ana": "ana", "123": "123", "00": "00", "0": "!rtc.account: is \"0\"", "null": "null"},
		},
		{
			[]namedRequest{
				{request: `{"type":"join","rtc":{"channel":"c","uid":%s}}`},
				{request: "GET /rtc/c/publisher/uid/%s", field: "rtcToken"},
				{request: "GET /rte/c/publisher/uid/%s/ana", field: "rtcToken"},
				{request: `POST /getToken {"tokenType":"rtc","channel":"c","role":1,"uid":"%s"}`, field: "token"},
				{request: `POST /fetch_rtc_token {"ChannelName":"c","role":1,"uid":%s}`, field: "token"},
				{request: `POST /fetch_rtc_token_string {"ChannelName":"c","role":1,"uid":"%s"}`, field: "token"},
				{request: "GET /access_token?channelName=c&uid=%s", field: "token"},
				{request: "GET /rtcToken?channelName=c&uid=%s", field: "key"},
			},
			map[string]string{"0": "", "123": "123", "4294967295": "4294967295"},
		},
		{
			[]namedRequest{
				{request: `{"type":"join","rtc":{"channel":"%s","uid":1}}`},
				{request: "GET /rtc/%s/publisher/uid/1", field: "rtcToken"},
				{request: "GET /rte/%s/publisher/uid/1", field: "rtcToken"},
				{request: `POST /getToken {"tokenType":"rtc","channel":"%s","role":1,"uid":1}`, field: "token"},
				{request: `POST /fetch_rtc_token {"ChannelName":"%s","role":1,"uid":1}`, field: "token"},
				{request: "GET /access_token?channelName=%s&uid=1", field: "token"},
				{request: "GET /rtcToken?channelName=%s&uid=1", field: "key"},
			},
			map[string]string{"*": "1", "**": "!rtc.channel: ", "daily-*": "!rtc.channel: ", "0": "1"},
		},
		{
			[]namedRequest{
				{request: `{"type":"join","rtm":{"userId":"%s"}}`},
				{request: "GET /rtm/%s", field: "rtmToken"},
				{request: "GET /rte/c/publisher/uid/1/%s", field: "rtmToken"},
				{request: `POST /getToken {"tokenType":"rtm","uid":"%s"}`, field: "token"},
				{request: `POST /fetch_rtm_token {"uid":"%s"}`, field: "token"},
				{request: "GET /rtmToken?account=%s", field: "key"},
			},
			map[string]string{
				"ana": "ana", "123": "123", "00": "00",
				"0": "!rtm.userId: is \"0\"", "null": "!rtm.userId: is \"null\"", "_x": "!rtm.userId: begins",
			},
		},
		{
			[]namedRequest{
				{request: `{"type":"join","chat":{"userId":"%s"}}`},
				{request: "GET /chat/account/%s", field: "chatToken"},
				{request: `POST /getToken {"tokenType":"chat","uid":"%s"}`, field: "token"},
			},
			map[string]string{"ana": "ana", "0": "0", "null": "null", "a=b": "!chat.userId: "},
		},
	} {
		for name, want := range kind.names {
			for _, e := range kind.requests {
				token, refusal := e.ask(n, name)
				if prefix, refused := strings.CutPrefix(want, "!"); refused {
					if token != "" || !strings.HasPrefix(refusal, prefix) {
						t.Errorf("%s of %q: token %q, refusal %q, want %q…", e.request, name, token, refusal, prefix)
					}
					continue
				}
				parsed, err := agora.Parse(token)
				if err != nil {
					t.Errorf("%s of %q: %v, refusal %q", e.request, name, err, refusal)
					continue
				}
				if got := parsed.Services[0].User; got != want {
					t.Errorf("%s of %q: for user %q, want %q", e.request, name, got, want)
				}
				use := agora.Use{AppID: apptest.AppID, Holder: agora.Holder{Channel: parsed.Services[0].Channel, User: want}}
				if err := agora.Explain(token, use, []string{apptest.Certificate}, time.Now()).Err(); err != nil {
					t.Errorf("%s of %q: inspect says %v", e.request, name, err)
				}
			}
		}
	}
}
