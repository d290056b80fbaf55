package api_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
)

// TestClassicPage tests the requests in docs/build/classic.md. This test has requests that are not on that page.
func TestClassicEndpoints(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for request, want := range map[string]string{
		"GET /rtc/c/publisher/uid/4294967295":                                 "`rtcToken`: RTC c 4294967295 (1 2 3 4), 3600 s",
		"GET /rtc/c/publisher/uid/-2147483648":                                "`rtcToken`: RTC c 2147483648 (1 2 3 4), 3600 s",
		"GET /rtc/../publisher/uid/1/":                                        "`rtcToken`: RTC .. 1 (1 2 3 4), 3600 s",
		"GET /rtc/a%20b!%23$%25&()+-:;%3C=.%3E%3F@[]/2/uid/1?expiry=86400":    "`rtcToken`: RTC a b!#$%&()+-:;<=.>?@[] 1 (1), 86400 s",
		"GET /rtc/c/2/userAccount/a%20b":                                      "`rtcToken`: RTC c a b (1), 3600 s",
		"GET /rte/c/publisher/userAccount/bob/ana?expiry=60":                  "`rtcToken`: RTC c bob (1 2 3 4), 60 s; `rtmToken`: RTC c ana (1 4), RTM ana (1), 60 s",
		`POST /getToken {"tokenType":"rtc","channel":"c","role":2,"uid":7}`:   "`token`: RTC c 7 (1), 3600 s",
		`POST /getToken {"tokenType":"rtm","uid":7,"channel":"c"}`:            "`token`: RTC c 7 (1 4), RTM 7 (1), 3600 s",
		`POST /getToken {"tokenType":"rtm","uid":"99999999999"}`:              "`token`: RTM 99999999999 (1), 3600 s",
		`POST /getToken {"tokenType":"rtm","uid":"ana","channel":""}`:         "`token`: RTM ana (1), 3600 s",
		`POST /fetch_rtc_token {"uid":"7","ChannelName":"c","expire":60}`:     "`code`: 200; `token`: RTC c 7 (1), 60 s",
		`POST /fetch_rtm_token {"uid":"ana","expire":60}`:                     "`code`: 200; `token`: RTM ana (1), 60 s",
		"GET /rtc/c/admin/uid/7":                                              "400 error: role: ",
		"GET /rtc/c/publisher/name/7":                                         "400 error: tokentype: ",
		"GET /rtc/c/publisher/uid/1.5":                                        "400 error: uid: ",
		"GET /rtc/c/publisher/uid/4294967296":                                 "400 error: uid: ",
		"GET /rtc/c/publisher/uid/-2147483649":                                "400 error: uid: ",
		"GET /rtc/c/publisher/userAccount//":                                  "400 error: uid: ",
		"GET /rtc/c/publisher/userAccount/%E4":                                "400 error: uid: ",
		"GET /rtc/a%2Fb/publisher/uid/7":                                      "400 error: channel: ",
		"GET /rtc/daily-*/publisher/uid/7":                                    "400 error: channel: ",
		"GET /rtc/c/publisher/uid/7?expiry=0":                                 "400 error: expiry: ",
		"GET /rtc/c/publisher/uid/7?expiry=86401":                             "400 error: expiry: ",
		"GET /rtc/c/publisher/uid/7?expiry=99999999999999999":                 "400 error: expiry: ",
		"GET /rtc/c/publisher/uid/7?expireTime=abc":                           "400 error: expireTime: ",
		"GET /rtc/c/publisher/uid/7?expiry=60&expireTime=60":                  "400 error: expireTime: ",
		"GET /rte/c/admin/uid/7":                                              "400 error: role: ",
		"GET /rte/c/publisher/uid/0":                                          "400 error: uid: ",
		"GET /rte/c/publisher/uid/7/_x":                                       "400 error: rtmuid: ",
		"GET /rte/c/publisher/uid/7?expiry=0":                                 "400 error: expiry: ",
		"GET /rtm/_x":                                                         "400 error: uid: ",
		"GET /rtmToken":                                                       "400 error: account: ",
		"GET /chat/account/a=b":                                               "400 error: id: ",
		"GET /chat/user/a=b/token":                                            "400 error: name: ",
		"GET /chat/app?expiry=0":                                              "400 error: expiry: ",
		"GET /chat/app/token?expiry=0":                                        "400 error: expiry: ",
		"GET /access_token?channelName=c&channel=c":                           "400 error: channel: ",
		"GET /access_token?channelName=c&role=admin":                          "400 error: role: ",
		"GET /access_token?channelName=c&expiredTs=1":                         "400 error: expiredTs: ",
		"GET /rtcToken?channelName=c&uid=4294967296":                          "400 error: uid: ",
		"GET /rtcToken":                                                       "400 error: channelName: ",
		"GET /rtcToken?channel=a/b":                                           "400 error: channel: ",
		"POST /getToken":                                                      "400 error: body: is empty",
		`POST /getToken {"tokenType":"rtc"`:                                   "400 error: body: ",
		`POST /getToken {"tokenType":"rtc","channel":5}`:                      "400 error: channel: ",
		`POST /getToken {"tokenType":"rtc","channel":"c","uid":"4294967296"}`: "400 error: uid: ",
		`POST /getToken {"tokenType":"rtc","channel":"c","uid":1e3}`:          "400 error: uid: want a string or a whole number, have a number",
		`POST /getToken {"tokenType":"rtc","channel":"c","role":"admin"}`:     "400 error: role: ",
		`POST /getToken {"tokenType":"rtm","uid":"a","expire":-1}`:            "400 error: expire: ",
		`POST /fetch_rtc_token {"uid":1,"role":3}`:                            "400 error: role: ",
		`POST /fetch_rtc_token {"uid":-1.5}`:                                  "400 error: uid: ",
		`POST /fetch_rtc_token {"uid":7}`:                                     "400 error: ChannelName: ",
		`POST /getToken {"tokenType":"rtm"}`:                                  "400 error: uid: ",
		`POST /fetch_rtc_token {"expire":-1}`:                                 "400 error: expire: ",
		`POST /fetch_rtm_token {"expire":-1}`:                                 "400 error: expire: ",
		`POST /fetch_rtm_token []`:                                            "400 error: body: ",
	} {
		got := decoded(t, n, request)
		if refused := strings.Contains(want, " error: "); !refused && got != want || refused && !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}

// The request chooses the token format. If the request names none, the credential chooses it, and otherwise the
// operator. Chat has no format 006.
func TestTokenFormatOfRequests(t *testing.T) {
	const (
		rtc, rtm  = "`rtcToken`: RTC c 7 (1 2 3 4), 3600 s", "`rtmToken`: RTC c ana (1 4), RTM ana (1), 3600 s"
		rtc6      = "`rtcToken`: 006 RTC c 7 (1 2 3 4), 3600 s"
		rtm6      = "`rtmToken`: 006 RTM ana (1000), 3600 s"
		single    = "RTC c 7 (1 2 3 4), RTM ana (1), 3600 s"
		rte       = "GET /rte/c/publisher/uid/7/ana"
		oneForTwo = "007-single is one token for RTC and RTM"
	)
	n := apptest.StartNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Policy.DefaultFormat = session.Format006
	})
	for _, c := range []struct{ request, granted, want string }{
		{rte, "", rtc6 + "; " + rtm6},
		{rte, "007", rtc + "; " + rtm},
		{rte, "007-single", "`rtcToken`: " + single + "; `rtmToken`: " + single},
		{rte + "?tokenFormat=007", "006", rtc + "; " + rtm},
		{rte + "?tokenFormat=006", "007", "403 error: tokenFormat: the credential does not grant 006"},
		{rte + "?tokenFormat=005", "", "400 error: tokenFormat: want "},
		{"GET /rtc/c/publisher/uid/7", "007-single", rtc},
		{"GET /rtc/c/publisher/uid/7?tokenFormat=007-single", "", "400 error: tokenFormat: " + oneForTwo},
		{"GET /chat/app?tokenFormat=006", "006", "`chatToken`: CHAT application (2), 3600 s"},
		{"GET /chat/app?tokenFormat=", "", "400 error: tokenFormat: want "},
		{"GET /chat/account/ana", "006", "`chatToken`: CHAT ana (1), 3600 s"},
		{`POST /getToken?tokenFormat=007 {"tokenType":"rtm","channel":"c","uid":"ana"}`, "", "`token`: RTC c ana (1 4), RTM ana (1), 3600 s"},
		{`POST /getToken {"tokenType":"rtm","channel":"c","uid":"ana"}`, "", "400 error: channel: a token of version 006 opens RTM alone"},
		{`POST /getToken?tokenFormat=005 {"tokenType":"rtm","channel":"c","uid":"ana"}`, "", "400 error: tokenFormat: want "},
	} {
		grants := apptest.AllGrants()
		if c.granted != "" {
			grants["tokenFormat"] = c.granted
		}
		got := decoded(t, n, c.request, "Authorization", "Bearer "+apptest.Pass(map[string]any{"grants": grants}))
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s, granted %q: %s, want %s", c.request, c.granted, got, c.want)
		}
	}
}

// docs/build/classic.md shows requests with the decoded answers of the classic servers and of this
// service. The test checks this service's answers.
func TestClassicPage(t *testing.T) {
	n := apptest.StartNode(t, nil)
	rows := classicPage(t)
	if len(rows) < 40 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		t.Run(row.request, func(t *testing.T) {
			got := decoded(t, n, row.request)
			if status, _, refused := strings.Cut(got, " error: "); refused {
				got = status
			}
			if got != row.here {
				t.Errorf("answers %q, documented as %q", got, row.here)
			}
		})
	}
}

type comparison struct{ request, here string }

// classicPage returns the rows of all tables whose last column is this service's answer. If that column says "the
// same", the answer is the one of the classic token server in Go, from another column.
func classicPage(t *testing.T) (rows []comparison) {
	t.Helper()
	page, err := os.ReadFile("../../docs/build/classic.md")
	if err != nil {
		t.Fatal(err)
	}
	inTable := false
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case cells[0] == "request" && cells[len(cells)-1] == "here":
			inTable = true
		case inTable && strings.HasPrefix(cells[0], "`"):
			here := cells[len(cells)-1]
			if here == "the same" {
				here = cells[1]
			}
			rows = append(rows, comparison{strings.Trim(cells[0], "`"), here})
		}
	}
	return rows
}

// decoded sends a request and returns the answer, written as the tables of docs/build/classic.md write it. If the
// request was refused, the error message follows.
func decoded(t *testing.T, n *apptest.Node, request string, header ...string) string {
	t.Helper()
	method, target, _ := strings.Cut(request, " ")
	path, sent, _ := strings.Cut(target, " ")
	response, body := n.Do(method, path, sent, header...)
	if response.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		if err := json.Unmarshal([]byte(body), &refusal); err != nil {
			t.Errorf("%s: %s", request, body)
		}
		return fmt.Sprintf("%d error: %s", response.StatusCode, refusal.Error)
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return "text: " + decodedToken(request, strings.TrimSpace(body))
	}
	var fields map[string]string
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		return body
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		said = append(said, "`"+name+"`: "+decodedToken(request, fields[name]))
	}
	return strings.Join(said, "; ")
}

var words = regexp.MustCompile(`[a-zA-Z0-9*_-]+`)

// decodedToken returns a token's services, privilege numbers and lifetime. For a 006 token, which has
// only checksums of names, it finds the names in the request.
func decodedToken(request, text string) string {
	token, err := agora.Parse(text)
	if err != nil {
		return text
	}
	name := func(sum uint32) string {
		for _, w := range append(words.FindAllString(request, -1), "0") {
			if crc32.ChecksumIEEE([]byte(w)) == sum {
				return w
			}
		}
		return ""
	}
	var services []string
	for _, s := range token.Services {
		if sums := token.Checksums; sums != nil && s.Type == agora.ServiceRTM {
			s.User = name(sums.Channel)
		} else if sums != nil {
			s.Channel, s.User = name(sums.Channel), name(sums.User)
		}
		var privileges []string
		for _, p := range s.Privileges {
			privileges = append(privileges, strconv.Itoa(int(p.ID)))
		}
		what := strings.ToUpper(s.Type.String())
		switch {
		case s.Type == agora.ServiceRTC:
			what += " " + s.Channel + " " + cmp.Or(s.User, "any")
		case s.User == "":
			what += " application"
		default:
			what += " " + s.User
		}
		services = append(services, what+" ("+strings.Join(privileges, " ")+")")
	}
	life := "never ends"
	if end := token.Services[0].Privileges[0].ExpiresAt; end != 0 {
		const unit = 10 // seconds; lifetimes are rounded to multiples of this unit, since a token may be some seconds old
		life = fmt.Sprintf("%d s", (end-token.IssuedAt+unit/2)/unit*unit)
	}
	version := ""
	if token.Version == agora.V006 {
		version = "006 "
	}
	return version + strings.Join(services, ", ") + ", " + life
}
