package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestBadJoins(t *testing.T) {
	n := startNode(t, nil)
	for join, message := range map[string]string{
		`{"type":"join"}`:                                                             "join: ",
		`{"type":"join","rtc":null}`:                                                  "join: ",
		`{"type":"join","rtc":{"channel":"c"}}`:                                       "rtc: ",
		`{"type":"join","rtc":{"channel":"c","uid":1,"account":"a"}}`:                 "rtc: ",
		`{"type":"join","rtc":{"channel":"c","uid":-1}}`:                              "rtc.uid: ",
		`{"type":"join","rtc":{"channel":"c","uid":4294967296}}`:                      "rtc.uid: ",
		`{"type":"join","rtc":{"channel":"c","uid":1.5}}`:                             "rtc.uid: ",
		`{"type":"join","rtc":{"channel":"c","uid":"7"}}`:                             "rtc.uid: ",
		`{"type":"join","rtc":{"channel":"c","account":""}}`:                          "rtc.account: ",
		`{"type":"join","rtc":{"channel":"c","account":"a/b"}}`:                       "rtc.account: ",
		`{"type":"join","rtc":{"channel":"","uid":1}}`:                                "rtc.channel: ",
		`{"type":"join","rtc":{"uid":1}}`:                                             "rtc.channel: ",
		`{"type":"join","rtc":{"channel":"` + strings.Repeat("c", 65) + `","uid":1}}`: "rtc.channel: ",
		`{"type":"join","rtc":{"channel":"a/b","uid":1}}`:                             "rtc.channel: ",
		`{"type":"join","rtc":{"channel":"a\u0000b","uid":1}}`:                        "rtc.channel: ",
		`{"type":"join","rtc":{"channel":7,"uid":1}}`:                                 "rtc.channel: ",
		`{"type":"join","rtc":{"channel":"c","uid":1,"role":"admin"}}`:                "rtc.role: ",
		`{"type":"join","rtc":{"channel":"c","uid":1,"role":1}}`:                      "rtc.role: ",
		`{"type":"join","rtc":7}`:                                                     "rtc: ",
		`{"type":"join","rtm":{"userId":"_x"}}`:                                       "rtm.userId: ",
		`{"type":"join","rtm":{"userId":"null"}}`:                                     "rtm.userId: ",
		`{"type":"join","rtm":{}}`:                                                    "rtm.userId: ",
		`{"type":"join","chat":{}}`:                                                   "chat.userId: ",
		`{"type":"join","chat":{"userId":""}}`:                                        "chat.userId: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":0}`:                                "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":-1}`:                               "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":1}`:                                "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":9}`:                                "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":86401}`:                            "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":9223372036854775807}`:              "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":1e30}`:                             "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":"60"}`:                             "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":10.5}`:                             "ttl: ",
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":"005"}`:                    "tokenFormat: ",
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":""}`:                       "tokenFormat: ",
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":7}`:                        "tokenFormat: ",
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":"007-single"}`:             "tokenFormat: ",
		`{"type":"resume","session":"S","key":"wrong"}`:                               "",
	} {
		t.Run(join, func(t *testing.T) {
			s := n.dial()
			s.send(join)
			m := s.expect(protocol.TypeError)
			if message == "" {
				if m.Code != "unknown_session" {
					t.Errorf("answer %+v", m)
				}
				s.closed(protocol.CloseUnknownSession)
				return
			}
			if m.Code != "bad_request" || !strings.HasPrefix(m.Message, message) {
				t.Errorf("answer %+v, want %q…", m, message)
			}
			s.closed(protocol.CloseMalformed)
		})
	}
	if _, metrics := n.ops("/metrics"); !strings.Contains(metrics, `refresher_sessions{state="attached"} 0`) || strings.Contains(metrics, "refresher_tokens_issued_total{") {
		t.Error("a refused join left a session or a token behind")
	}
}

func TestGoodJoins(t *testing.T) {
	n := startNode(t, nil)
	for join, ttl := range map[string]session.UnixSec{
		`{"type":"join","rtc":{"channel":"c","uid":0}}`:                             3600,
		`{"type":"join","rtc":{"channel":"c","uid":4294967295,"role":"publisher"}}`: 3600,
		`{"type":"join","rtc":{"channel":"c","account":"ana"},"ttl":10}`:            10,
		`{"type":"join","rtm":{"userId":"u"},"ttl":29}`:                             29,
		`{"type":"join","rtm":{"userId":"u"},"ttl":30}`:                             30,
		`{"type":"join","rtm":{"userId":"u"},"ttl":31}`:                             31,
		`{"type":"join","chat":{"userId":"u"},"ttl":86400}`:                         86400,
		`{"type":"join","chat":{"userId":"u"},"newer":{"field":1}}`:                 3600,
	} {
		s := n.dial()
		s.send(join)
		m := s.expect(protocol.TypeJoined)
		for _, token := range []*protocol.Token{m.Tokens.RTC, m.Tokens.RTM, m.Tokens.Chat} {
			if token == nil {
				continue
			}
			if left := token.ExpiresAt - session.SecOf(time.Now()); left > ttl || left < ttl-5 {
				t.Errorf("%s: %d s left", join, left)
			}
		}
	}
}

const join = `{"type":"join","rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"}}`

func resume(m message, seq uint64) string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d}`, m.Session, m.Key, seq)
}

func TestResumes(t *testing.T) {
	n := startNode(t, nil)
	first := n.dial()
	first.send(join)
	joined := first.expect(protocol.TypeJoined)

	// While the first is still connected: the newer wins.
	second := n.dial()
	second.send(resume(joined, 1))
	resumed := second.expect(protocol.TypeJoined)
	if resumed.Session != joined.Session || resumed.Seq != 2 || resumed.Action != protocol.ActionRenew || resumed.Key == joined.Key {
		t.Errorf("resumed %+v", resumed)
	}
	if m := first.expect(protocol.TypeEnded); m.Reason != "superseded" {
		t.Errorf("the older connection was told %+v", m)
	}
	first.closed(protocol.CloseSuperseded)
	second.send(`{"type":"ack","seq":2}`)
	second.send(`{"type":"ping"}`)
	second.expect(protocol.TypePong)

	older := n.dial()
	older.send(resume(joined, 1))
	if m := older.expect(protocol.TypeEnded); m.Reason != "superseded" {
		t.Errorf("the older key: %+v", m)
	}
	older.closed(protocol.CloseSuperseded)

	altered := n.dial()
	spoiled := resumed
	spoiled.Key = "A" + flip(resumed.Key[1:])
	altered.send(resume(spoiled, 2))
	if m := altered.expect(protocol.TypeError); m.Code != "unknown_session" {
		t.Errorf("an altered key: %+v", m)
	}
	altered.closed(protocol.CloseUnknownSession)

	tooFar := n.dial()
	tooFar.send(resume(resumed, 1<<60))
	if m := tooFar.expect(protocol.TypeError); m.Code != "bad_request" {
		t.Errorf("an absurd seq: %+v", m)
	}

	// None of that disturbed the session.
	second.send(`{"type":"renew"}`)
	if m := second.expect(protocol.TypeWillExpire); m.Seq != 3 || m.Cause != "renew" || m.Attempt != 1 {
		t.Errorf("renewal %+v", m)
	}
	second.send(`{"type":"leave"}`)
	second.expect(protocol.TypeEnded)
	second.closed(protocol.CloseLeft)

	ended := n.dial()
	ended.send(resume(resumed, 3))
	if m := ended.expect(protocol.TypeEnded); m.Reason != "left" {
		t.Errorf("resume of an ended session: %+v", m)
	}
	ended.closed(protocol.CloseEnded)
}

// flip changes the middle of a key.
func flip(s string) string {
	b := []byte(s)
	if b[len(b)/2] == 'A' {
		b[len(b)/2] = 'B'
	} else {
		b[len(b)/2] = 'A'
	}
	return string(b)
}

func TestRenewOverHTTP(t *testing.T) {
	n := startNode(t, nil)
	s := n.dial()
	s.send(join)
	joined := s.expect(protocol.TypeJoined)
	path := "/v1/sessions/" + joined.Session + "/renew"

	response, text := n.do(http.MethodPost, path, "", "Authorization", "Bearer "+joined.Key)
	var renewed message
	if err := json.Unmarshal([]byte(text), &renewed); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", response.StatusCode, text)
	}
	if renewed.Type != protocol.TypeWillExpire || renewed.Seq != 2 || renewed.Action != "renew" || renewed.Cause != "renew" ||
		renewed.Tokens.RTC == nil || renewed.Tokens.RTM == nil || renewed.Tokens.Chat != nil {
		t.Errorf("renewed %+v", renewed)
	}
	_, text = n.do(http.MethodPost, path, `{"seq":2}`, "Authorization", "bearer "+joined.Key)
	if err := json.Unmarshal([]byte(text), &renewed); err != nil || renewed.Seq != 3 {
		t.Errorf("renewed again %s", text)
	}
	for name, c := range map[string]struct {
		path, body, auth string
		status           int
	}{
		"no key":              {path, "", "", http.StatusUnauthorized},
		"another scheme":      {path, "", "Basic " + joined.Key, http.StatusUnauthorized},
		"a wrong key":         {path, "", "Bearer x", http.StatusNotFound},
		"another session":     {"/v1/sessions/X/renew", "", "Bearer " + joined.Key, http.StatusNotFound},
		"a body that is none": {path, "{", "Bearer " + joined.Key, http.StatusBadRequest},
		"a body too long":     {path, strings.Repeat(" ", 9<<10), "Bearer " + joined.Key, http.StatusBadRequest},
		"too long, by nobody": {path, strings.Repeat(" ", 9<<10), "Bearer x", http.StatusNotFound},
		"an absurd seq":       {path, `{"seq":9007199254740993}`, "Bearer " + joined.Key, http.StatusBadRequest},
	} {
		response, text := n.do(http.MethodPost, c.path, c.body, "Authorization", c.auth)
		if response.StatusCode != c.status || !strings.Contains(text, `"error":`) {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
		if strings.Contains(text, joined.Key) {
			t.Errorf("%s: the answer repeats the key", name)
		}
	}
	s.send(`{"type":"leave"}`)
	s.expect(protocol.TypeEnded)
	response, text = n.do(http.MethodPost, path, "", "Authorization", "Bearer "+joined.Key)
	end := fmt.Sprintf(`"reason":"left","accessEndsAt":%d}`, joined.Tokens.RTC.ExpiresAt)
	if response.StatusCode != http.StatusGone || !strings.HasSuffix(text, end) {
		t.Errorf("after the end: %d %s, want %s", response.StatusCode, text, end)
	}
}

func TestHugeFrame(t *testing.T) {
	n := startNode(t, nil)
	s := n.dial()
	s.send(strings.Repeat("x", 1<<20))
	if m := s.expect(protocol.TypeError); m.Code != "bad_request" {
		t.Errorf("answer %+v", m)
	}
	s.closed(protocol.CloseTooLarge)
}

// rawUpgrade opens a WebSocket by hand, to send what a library would not.
func rawUpgrade(t *testing.T, n *node) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n.app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", response.StatusCode)
	}
	return c, r
}

// frame is a masked text frame; its mask is zero.
func frame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

func TestFrameInSingleBytes(t *testing.T) {
	n := startNode(t, nil)
	c, r := rawUpgrade(t, n)
	for _, b := range frame(`{"type":"join","rtc":{"channel":"c","uid":1}}`) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 100)
	if _, err := r.Read(answer); err != nil || !strings.Contains(string(answer), `"joined"`) {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestJoinSentTogetherWithTheHandshake(t *testing.T) {
	n := startNode(t, nil)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := fmt.Appendf(nil, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n.app.Addr())
	if _, err := c.Write(append(request, frame(`{"type":"join","rtc":{"channel":"c","uid":1}}`)...)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for line := "x"; strings.TrimSpace(line) != ""; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 100)
	if _, err := r.Read(answer); err != nil || !strings.Contains(string(answer), `"joined"`) {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestUnmaskedFrameIsRefused(t *testing.T) {
	n := startNode(t, nil)
	c, r := rawUpgrade(t, n)
	if _, err := c.Write([]byte{0x81, 0x02, '{', '}'}); err != nil {
		t.Fatal(err)
	}
	for { // the server hangs up
		if _, err := r.ReadByte(); err != nil {
			return
		}
	}
}

func TestDrainOnASignal(t *testing.T) {
	n := startNode(t, func(c *Config) { c.DrainWindow = 100 * time.Millisecond })
	if response, text := n.ops("/readyz"); response.StatusCode != http.StatusOK || text != "ready\n" {
		t.Errorf("readyz: %d %q", response.StatusCode, text)
	}
	s := n.dial()
	s.send(join)
	joined := s.expect(protocol.TypeJoined)
	go n.stop()
	if m := s.expect(protocol.TypeReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	if response, _ := n.ops("/readyz"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining: %d", response.StatusCode)
	}
	s.closed(protocol.CloseDrain)
	n.stop()

	// The next process takes the session up, from its key alone.
	next := startNode(t, nil).dial()
	next.send(resume(joined, 1))
	if m := next.expect(protocol.TypeJoined); m.Session != joined.Session || m.Seq != 2 {
		t.Errorf("resumed %+v", m)
	}
}

// A loopback address keeps other machines out, but not a web page whose host
// name was made to resolve to it.
func TestOnlyLocalhostIsServedWithoutCredentials(t *testing.T) {
	n := startNode(t, nil)
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "LOCALHOST:8080": http.StatusOK, "127.0.0.1:1": http.StatusOK, "[::1]:80": http.StatusOK, "[::1]": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "evil.example:8080": http.StatusMisdirectedRequest,
		"localhost.evil.example": http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest, "0.0.0.0:8080": http.StatusMisdirectedRequest,
	} {
		if got, _ := n.do(http.MethodGet, "/ping", "", "Host", host); got.StatusCode != status {
			t.Errorf("%s: %d, want %d", host, got.StatusCode, status)
		}
	}
}

// Requests that do not come to an end are cut off, and the service still stops
// well; start expects that.
func TestSlowRequestDoesNotHoldUpTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.startNode()
		c, err := w.network.dial(t.Context(), "", serviceAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /getToken HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\n{", serviceAddress); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		n.stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopped after %s", took)
		}
		w.end()
	})
}

func TestRefusedSettings(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"want one of jwt-s":  func(c *Config) { c.Auth = "jwt" },
		"auth: want":         func(c *Config) { c.Auth = "ldap" },
		"auth: none does":    func(c *Config) { c.Projects = append(c.Projects, c.Projects[0]) },
		"tls-cert-file, ":    func(c *Config) { c.TLSCertFile = "cert.pem" },
		"proxy-protocol: ":   func(c *Config) { c.ProxyProtocol = true },
		"trusted-proxies: ":  func(c *Config) { c.TrustedProxies = []string{"everybody"} },
		"address-rate: ":     func(c *Config) { c.AddressRate = -1 },
		"subject-rate: ":     func(c *Config) { c.SubjectRate = math.Inf(1) },
		"authorize-url: ":    func(c *Config) { c.AuthorizeURL, c.AuthorizeSecret = "nowhere", "a secret of many more bytes" },
		"authorize-secret: ": func(c *Config) { c.AuthorizeURL = "http://127.0.0.1:1" },
		"authorize-previous-secret: want": func(c *Config) {
			c.AuthorizeURL, c.AuthorizeSecret, c.AuthorizePreviousSecret = "http://127.0.0.1:1", "a secret of many more bytes", "short"
		},
		"authorize-previous-secret: set": func(c *Config) { c.AuthorizePreviousSecret = "a secret of many more bytes" },
		"auth: none on":                  func(c *Config) { c.Listen = "0.0.0.0:0" },
		"auth: none on :":                func(c *Config) { c.Listen = ":0" },
		"credential-in-path: ":           func(c *Config) { c.CredentialInPath = true },
		"base-path: ":                    func(c *Config) { c.BasePath = "refresher" },
		"base-path: want":                func(c *Config) { c.BasePath = "/a/../b" },
		"base-path: want a":              func(c *Config) { c.BasePath = "/a//b" },
		"base-path: want a ":             func(c *Config) { c.BasePath = "/a?b" },
		"listen: ":                       func(c *Config) { c.Listen = "nonsense" },
		"ops-listen: ":                   func(c *Config) { c.OpsListen = "256.0.0.1:0" },
		"app-id: ":                       func(c *Config) { c.Projects[0].AppID = "x" },
		"app-certificate: ":              func(c *Config) { c.Projects[0].Certificates[0] = "x" },
		"token-ttl: ":                    func(c *Config) { c.Policy.TTL = time.Second },
		"session secret: ":               func(c *Config) { c.SessionSecret = "short" },
		"heartbeat: ":                    func(c *Config) { c.Heartbeat = 0 },
		"idle-timeout: ":                 func(c *Config) { c.IdleTimeout = 0 },
		"drain-window: ":                 func(c *Config) { c.DrainWindow = -1 },
		"max-sessions: ":                 func(c *Config) { c.MaxSessions = -1 },
		"join-rate: ":                    func(c *Config) { c.JoinRate = math.NaN() },
		"allowed origin":                 func(c *Config) { c.AllowedOrigins = []string{"ftp://x"} },
	} {
		c := testConfig()
		change(&c)
		a, err := New(c, quiet)
		if err == nil {
			t.Errorf("%s accepted", want)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = a.Run(ctx, ctx, nil)
			continue
		}
		if !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), testCertificate) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := testConfig()
	c.Listen, c.Insecure = "0.0.0.0:0", true
	a, err := New(c, quiet)
	if err != nil {
		t.Fatalf("open to the network, with --insecure: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.Run(ctx, ctx, nil)
}

func TestSessionIsFoundAsSoonAsItIsJoined(t *testing.T) {
	n := startNode(t, nil)
	s := n.dial()
	s.send(join)
	joined := s.expect(protocol.TypeJoined) // its record is written a moment later
	if response, text := n.do(http.MethodDelete, "/v1/sessions/"+joined.Session, ""); response.StatusCode != http.StatusOK {
		t.Errorf("%d %s", response.StatusCode, text)
	}
	s.expect(protocol.TypeEnded)
}
