package ws_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestBadJoins(t *testing.T) {
	n := apptest.StartNode(t, nil)
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
			s := n.Dial()
			s.Send(join)
			m := s.Expect(protocol.TypeError)
			if message == "" {
				if m.Code != "unknown_session" {
					t.Errorf("answer %+v", m)
				}
				s.Closed(protocol.CloseUnknownSession)
				return
			}
			if m.Code != "bad_request" || !strings.HasPrefix(m.Message, message) {
				t.Errorf("answer %+v, want %q…", m, message)
			}
			s.Closed(protocol.CloseMalformed)
		})
	}
	if _, metrics := n.Ops("/metrics"); !strings.Contains(metrics, `refresher_sessions{state="attached"} 0`) || strings.Contains(metrics, "refresher_tokens_issued_total{") {
		t.Error("a refused join left a session or a token behind")
	}
}

func TestGoodJoins(t *testing.T) {
	n := apptest.StartNode(t, nil)
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
		s := n.Dial()
		s.Send(join)
		m := s.Expect(protocol.TypeJoined)
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

func TestResumes(t *testing.T) {
	n := apptest.StartNode(t, nil)
	first := n.Dial()
	first.Send(apptest.JoinText)
	joined := first.Expect(protocol.TypeJoined)

	// If a second connection resumes a session while the first is still open, the second connection takes the session
	// over.
	second := n.Dial()
	second.Send(apptest.ResumeText(joined, 1))
	resumed := second.Expect(protocol.TypeJoined)
	if resumed.Session != joined.Session || resumed.Seq != 2 || resumed.Action != protocol.ActionRenew || resumed.Key == joined.Key {
		t.Errorf("resumed %+v", resumed)
	}
	if m := first.Expect(protocol.TypeEnded); m.Reason != "superseded" {
		t.Errorf("the older connection was told %+v", m)
	}
	first.Closed(protocol.CloseSuperseded)
	second.Send(`{"type":"ack","seq":2}`)
	second.Send(`{"type":"ping"}`)
	second.Expect(protocol.TypePong)

	older := n.Dial()
	older.Send(apptest.ResumeText(joined, 1))
	if m := older.Expect(protocol.TypeEnded); m.Reason != "superseded" {
		t.Errorf("the older key: %+v", m)
	}
	older.Closed(protocol.CloseSuperseded)

	altered := n.Dial()
	spoiled := resumed
	spoiled.Key = "A" + flip(resumed.Key[1:])
	altered.Send(apptest.ResumeText(spoiled, 2))
	if m := altered.Expect(protocol.TypeError); m.Code != "unknown_session" {
		t.Errorf("an altered key: %+v", m)
	}
	altered.Closed(protocol.CloseUnknownSession)

	tooFar := n.Dial()
	tooFar.Send(apptest.ResumeText(resumed, 1<<60))
	if m := tooFar.Expect(protocol.TypeError); m.Code != "bad_request" {
		t.Errorf("an absurd seq: %+v", m)
	}

	// The refused attempts did not change the session.
	second.Send(`{"type":"renew"}`)
	if m := second.Expect(protocol.TypeWillExpire); m.Seq != 3 || m.Cause != "renew" || m.Attempt != 1 {
		t.Errorf("renewal %+v", m)
	}
	second.Send(`{"type":"leave"}`)
	second.Expect(protocol.TypeEnded)
	second.Closed(protocol.CloseLeft)

	ended := n.Dial()
	ended.Send(apptest.ResumeText(resumed, 3))
	if m := ended.Expect(protocol.TypeEnded); m.Reason != "left" {
		t.Errorf("resume of an ended session: %+v", m)
	}
	ended.Closed(protocol.CloseEnded)
}

// flip changes one character in the middle of a key.
func flip(s string) string {
	b := []byte(s)
	if b[len(b)/2] == 'A' {
		b[len(b)/2] = 'B'
	} else {
		b[len(b)/2] = 'A'
	}
	return string(b)
}

func TestHugeFrame(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(strings.Repeat("x", 1<<20))
	if m := s.Expect(protocol.TypeError); m.Code != "bad_request" {
		t.Errorf("answer %+v", m)
	}
	s.Closed(protocol.CloseTooLarge)
}

// rawUpgrade opens a WebSocket without a library, so that tests can send malformed frames.
func rawUpgrade(t *testing.T, n *apptest.Node) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n.App.Addr())
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

func TestFrameInSingleBytes(t *testing.T) {
	n := apptest.StartNode(t, nil)
	c, r := rawUpgrade(t, n)
	for _, b := range apptest.Frame(`{"type":"join","rtc":{"channel":"c","uid":1}}`) {
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
	n := apptest.StartNode(t, nil)
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := fmt.Appendf(nil, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", n.App.Addr())
	if _, err := c.Write(append(request, apptest.Frame(`{"type":"join","rtc":{"channel":"c","uid":1}}`)...)); err != nil {
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
	n := apptest.StartNode(t, nil)
	c, r := rawUpgrade(t, n)
	if _, err := c.Write([]byte{0x81, 0x02, '{', '}'}); err != nil {
		t.Fatal(err)
	}
	for { // reads until the server hangs up
		if _, err := r.ReadByte(); err != nil {
			return
		}
	}
}
