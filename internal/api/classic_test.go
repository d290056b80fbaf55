package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
)

// want is the expected content of a token.
type want struct {
	service    agora.ServiceType
	channel    string
	user       string
	privileges int
	seconds    int64
}

func TestClassicEndpoints(t *testing.T) {
	n := apptest.StartNode(t, nil)
	rtc := func(channel, user string, privileges int, seconds int64) map[string]want {
		return map[string]want{"rtcToken": {agora.ServiceRTC, channel, user, privileges, seconds}}
	}
	rtm := func(user string, seconds int64) map[string]want {
		return map[string]want{"rtmToken": {agora.ServiceRTM, "", user, 1, seconds}}
	}
	rte := func(user, rtmUser string) map[string]want {
		return map[string]want{
			"rtcToken": {agora.ServiceRTC, "c", user, 4, 3600},
			"rtmToken": {agora.ServiceRTC, "c", rtmUser, 2, 3600}, // TestStreamChannels checks its RTM service
		}
	}
	chat := func(user string) map[string]want {
		return map[string]want{"chatToken": {agora.ServiceChat, "", user, 1, 3600}}
	}
	token := func(w want) map[string]want { return map[string]want{"token": w} }

	for request, tokens := range map[apptest.Request]map[string]want{
		// The React, iOS and Android UIKits append a slash; React Native and Flutter do not.
		apptest.Get("/rtc/daily/publisher/uid/7/"):                     rtc("daily", "7", 4, 3600),
		apptest.Get("/rtc/daily/publisher/uid/7"):                      rtc("daily", "7", 4, 3600),
		apptest.Get("/rtc/c/subscriber/uid/7/"):                        rtc("c", "7", 1, 3600),
		apptest.Get("/rtc/c/audience/uid/7/"):                          rtc("c", "7", 1, 3600),
		apptest.Get("/rtc/c/1/uid/7/?expiry=60"):                       rtc("c", "7", 4, 60),
		apptest.Get("/rtc/c/2/uid/7/?expiry=86400"):                    rtc("c", "7", 1, 86400),
		apptest.Get("/rtc/c/publisher/uid/7?expiry=1"):                 rtc("c", "7", 4, 1),
		apptest.Get("/rtc/c/publisher/uid/0/"):                         rtc("c", "", 4, 3600),
		apptest.Get("/rtc/c/publisher/uid/4294967295/"):                rtc("c", "4294967295", 4, 3600),
		apptest.Get("/rtc/c/publisher/uid/-1/"):                        rtc("c", "4294967295", 4, 3600), // Android
		apptest.Get("/rtc/c/publisher/uid/-2147483648/"):               rtc("c", "2147483648", 4, 3600),
		apptest.Get("/rtc/c/publisher/userAccount/alice/"):             rtc("c", "alice", 4, 3600),
		apptest.Get("/rtc/a%20b!%23$%25&()+-:;%3C=.%3E%3F@[]/2/uid/1"): rtc("a b!#$%&()+-:;<=.>?@[]", "1", 1, 3600),
		apptest.Get("/rtc/../publisher/uid/1/"):                        rtc("..", "1", 4, 3600),
		apptest.Get("/rtc/./publisher/uid/1"):                          rtc(".", "1", 4, 3600),
		apptest.Get("/rtm/alice"):                                      rtm("alice", 3600),
		apptest.Get("/rtm/alice/?expiry=120"):                          rtm("alice", 120),
		apptest.Get("/rte/c/publisher/uid/7/"):                         rte("7", "7"),
		apptest.Get("/rte/c/publisher/uid/7"):                          rte("7", "7"),
		apptest.Get("/rte/c/publisher/uid/7/alice/"):                   rte("7", "alice"),
		apptest.Get("/rte/c/publisher/userAccount/bob/alice"):          rte("bob", "alice"),
		apptest.Get("/rte/c/publisher/uid/0/alice"):                    rte("", "alice"),
		apptest.Get("/chat/account/alice"):                             chat("alice"),
		apptest.Get("/chat/account/alice/"):                            chat("alice"),
		apptest.Get("/chat/app"):                                       chat(""),
		apptest.Get("/chat/app/"):                                      chat(""),
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"7","expire":90}`): token(want{agora.ServiceRTC, "c", "7", 4, 90}),
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":2,"uid":7}`):                         token(want{agora.ServiceRTC, "c", "7", 1, 3600}),
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":"subscriber","uid":"alice"}`):        token(want{agora.ServiceRTC, "c", "alice", 1, 3600}),
		apptest.Post("/getToken/", `{"tokenType":"rtm","uid":"alice"}`):                                         token(want{agora.ServiceRTM, "", "alice", 1, 3600}),
		apptest.Post("/getToken", `{"tokenType":"chat","uid":"alice"}`):                                         token(want{agora.ServiceChat, "", "alice", 1, 3600}),
		apptest.Post("/getToken", `{"tokenType":"chat"}`):                                                       token(want{agora.ServiceChat, "", "", 1, 3600}),
		apptest.Post("/fetch_rtc_token", `{"uid":1234,"ChannelName":"x","role":1}`):                             token(want{agora.ServiceRTC, "x", "1234", 4, 3600}),
		apptest.Post("/fetch_rtc_token", `{"uid":"1234","ChannelName":"x","role":2,"expire":60}`):               token(want{agora.ServiceRTC, "x", "1234", 1, 60}),
	} {
		t.Run(request.String(), func(t *testing.T) {
			response, text := n.Do(request.Method, request.Path, request.Body)
			if response.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", response.StatusCode, text)
			}
			for header, value := range map[string]string{
				"Cache-Control": "private, no-cache, no-store, must-revalidate", "Expires": "-1", "Pragma": "no-cache",
				"Content-Type": "application/json; charset=utf-8",
			} {
				if got := response.Header.Get(header); got != value {
					t.Errorf("%s: %q", header, got)
				}
			}
			var got map[string]string
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if request.Path == "/fetch_rtc_token" {
				if got["code"] != "200" {
					t.Errorf("code %q", got["code"])
				}
				delete(got, "code")
			}
			if len(got) != len(tokens) {
				t.Errorf("answer %v", got)
			}
			for name, w := range tokens {
				checkToken(t, got[name], w)
			}
		})
	}
}

// checkToken parses a token and compares it with w.
func checkToken(t *testing.T, text string, w want) {
	t.Helper()
	token, err := agora.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if err := token.Verify(apptest.Certificate, agora.Holder{Channel: w.channel, User: w.user}); err != nil {
		t.Error(err)
	}
	if token.AppID != apptest.AppID || token.Version != agora.V007 {
		t.Errorf("%+v", token)
	}
	if life := int64(token.ExpiresAt - token.IssuedAt); life != w.seconds || token.ValidUntil != token.ExpiresAt {
		t.Errorf("lives %d s, want %d", life, w.seconds)
	}
	if age := session.SecOf(time.Now()) - token.IssuedAt; age < 0 || age > 60 {
		t.Errorf("issued %d s ago", age)
	}
	s := token.Services[0]
	if s.Type != w.service || s.Channel != w.channel || s.User != w.user || len(s.Privileges) != w.privileges {
		t.Errorf("got %+v, want %+v", s, w)
	}
}

func TestClassicRefusals(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for request, message := range map[apptest.Request]string{
		apptest.Get("/rtc/c/admin/uid/7"):                                                                    "role: ",
		apptest.Get("/rtc/c/publisher/name/7"):                                                               "tokentype: ",
		apptest.Get("/rtc/c/publisher/uid/alice"):                                                            "uid: ",
		apptest.Get("/rtc/c/publisher/uid/4294967296"):                                                       "uid: ",
		apptest.Get("/rtc/c/publisher/uid/-2147483649"):                                                      "uid: ",
		apptest.Get("/rtc/c/publisher/uid/1.5"):                                                              "uid: ",
		apptest.Get("/rtc/c/publisher/userAccount/%E4"):                                                      "rtc.account: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=abc"):                                                     "expiry: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry="):                                                        "expiry: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=-5"):                                                      "expiry: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=0"):                                                       "expiry: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=86401"):                                                   "expiry: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=99999999999999999"):                                       "expiry: ",
		apptest.Get("/rtc/a%2Fb/publisher/uid/7"):                                                            "rtc.channel: ",
		apptest.Get("/rtc/a%00b/publisher/uid/7"):                                                            "rtc.channel: ",
		apptest.Get("/rtc/" + strings.Repeat("x", 65) + "/publisher/uid/7"):                                  "rtc.channel: ",
		apptest.Get("/rtc//publisher/uid/7"):                                                                 "rtc.channel: ",
		apptest.Get("/rtc/c/publisher/userAccount/0"):                                                        "rtc.account: ",
		apptest.Get("/rtm/0"):                                                                                "rtm.userId: ",
		apptest.Get("/rtm/_x"):                                                                               "rtm.userId: ",
		apptest.Get("/rte/c/publisher/uid/0"):                                                                "rtm.userId: ",
		apptest.Get("/rte/c/publisher/uid/7/0"):                                                              "rtm.userId: ",
		apptest.Post("/getToken", "{}"):                                                                      "tokenType: ",
		apptest.Post("/getToken", `{"tokenType":"rtc"`):                                                      "body: ",
		apptest.Post("/getToken", ""):                                                                        "body: ",
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":"4294967296"}`): "uid: ",
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":"publisher","uid":""}`):           "uid: ",
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":1,"uid":1.5}`):                    "uid: want a string or a whole number, have a number",
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":"c","role":1,"uid":1e3}`):                    "uid: want a string or a whole number, have a number",
		apptest.Post("/getToken", `{"tokenType":"rtc","channel":5}`):                                         "channel: ",
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"a","expire":-1}`):                               "expire: ",
		apptest.Get("/rtc/c/publisher/userAccount//"):                                                        "uid: ",
		apptest.Get("/rtc/c/publisher/uid/7?expireTime=abc"):                                                 "expireTime: ",
		apptest.Get("/rtc/c/publisher/uid/7?expiry=60&expireTime=60"):                                        "expireTime: ",
		apptest.Get("/access_token?channelName=c&expiredTs=1"):                                               "expiredTs: ",
		apptest.Get("/access_token?channelName=c&channel=c"):                                                 "channel: ",
		apptest.Get("/access_token?channelName=c&role=admin"):                                                "role: ",
		apptest.Get("/rtcToken?channelName=c&uid=4294967296"):                                                "uid: ",
		apptest.Post("/fetch_rtc_token", `{"uid":-1.5,"ChannelName":"x","role":1}`):                          "uid: want a string or a whole number, have a number",
		apptest.Post("/fetch_rtc_token", `{"uid":1,"ChannelName":"","role":1}`):                              "rtc.channel: ",
		apptest.Post("/fetch_rtc_token", `"`+strings.Repeat("x", 9<<10)+`"`):                                 "body: ",
	} {
		t.Run(request.String(), func(t *testing.T) {
			response, text := n.Do(request.Method, request.Path, request.Body)
			var problem struct {
				Error, Code string
				Status      int
			}
			if err := json.Unmarshal([]byte(text), &problem); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if response.StatusCode != http.StatusBadRequest || problem.Status != http.StatusBadRequest || problem.Code != "bad_request" {
				t.Errorf("status %d: %s", response.StatusCode, text)
			}
			if !strings.HasPrefix(problem.Error, message) {
				t.Errorf("%q, want %q…", problem.Error, message)
			}
		})
	}
}

func TestClassicTokensIn006(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.Policy.DefaultFormat = session.Format006 })
	_, text := n.Do(http.MethodGet, "/rtc/c/publisher/uid/7/?expiry=60", "")
	var got struct{ RTCToken string }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	token, err := agora.Parse(got.RTCToken)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Verify(apptest.Certificate, agora.Holder{Channel: "c", User: "7"}); err != nil || token.Version != agora.V006 {
		t.Errorf("%+v: %v", token, err)
	}
	if left := token.ExpiresAt - session.SecOf(time.Now()); left < 50 || left > 60 {
		t.Errorf("%d s left", left)
	}
}

func TestPing(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for _, path := range []string{"/ping", "/ping/"} {
		if response, text := n.Do(http.MethodGet, path, ""); response.StatusCode != http.StatusOK || text != `{"message":"pong"}` {
			t.Errorf("%d %s", response.StatusCode, text)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for request, status := range map[apptest.Request]int{
		apptest.Get("/"):                           http.StatusOK,
		apptest.Post("/", ""):                      http.StatusMethodNotAllowed,
		apptest.Get("/rtc"):                        http.StatusNotFound,
		apptest.Get("/rtc/c/publisher/uid"):        http.StatusNotFound,
		apptest.Post("/rtc/c/publisher/uid/7", ""): http.StatusMethodNotAllowed,
		apptest.Get("/getToken"):                   http.StatusMethodNotAllowed,
		apptest.Ask("DELETE", "/ping", ""):         http.StatusMethodNotAllowed,
		apptest.Ask("HEAD", "/ping", ""):           http.StatusOK,
		apptest.Get("/v1/ws"):                      http.StatusUpgradeRequired,
	} {
		response, text := n.Do(request.Method, request.Path, "")
		if response.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", request, response.StatusCode, text, status)
		}
		if status == http.StatusMethodNotAllowed && response.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow header", request)
		}
	}
}

// Apps may append /rtc/… to a base URL with a trailing slash, but //v1 is not treated as /v1, which
// could evade a proxy's rule.
func TestDoubledSlash(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.BasePath = "/calls" })
	for path, status := range map[string]int{
		"/calls//rtc/c/publisher/uid/7/": http.StatusOK,
		"/calls///rtm/ana":               http.StatusOK,
		"/calls//ping":                   http.StatusOK,
		"/calls//v1/sessions":            http.StatusNotFound,
		"/calls/v1//sessions":            http.StatusNotFound,
		"//calls/rtm/ana":                http.StatusNotFound,
	} {
		if response, text := n.Do(http.MethodGet, path, ""); response.StatusCode != status {
			t.Errorf("%s: %d %s, want %d", path, response.StatusCode, text, status)
		}
	}
}
