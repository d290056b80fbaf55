package protocol

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"refresher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// TestServerMessages compares every message from the server with its golden file, since clients
// depend on the exact text.
func TestServerMessages(t *testing.T) {
	tokens := session.Tokens{RTC: "007rtc+/=", RTM: "007rtm", Chat: "007chat", ExpiresAt: 1_800_003_600}
	push := session.Push{
		Seq: 7, Tokens: tokens, PreviousExpiresAt: 1_800_000_300, Attempt: 2,
		Cause: session.CauseSchedule, Now: 1_800_000_000_250,
	}
	rejoin := push
	rejoin.Rejoin, rejoin.Cause, rejoin.Tokens = true, session.CauseNack, session.Tokens{RTM: "007rtm", ExpiresAt: 1_800_003_600}
	repeated := push
	repeated.Cause = session.CauseResume
	joined := session.Joined{Push: push, Session: "S", Key: "K", RenewBefore: 5 * time.Minute}
	resumed := joined
	resumed.Resumed = true
	resumedLate := resumed
	resumedLate.Rejoin = true
	for name, m := range map[string]any{
		"joined":         FromJoined(joined, 50*time.Second),
		"resumed":        FromJoined(resumed, 50*time.Second),
		"resumed-rejoin": FromJoined(resumedLate, 50*time.Second),
		"will-expire":    FromPush(push),
		"will-expire-2":  FromPush(repeated),
		"did-expire":     FromPush(rejoin),
		"reconnect":      Reconnect{Type: TypeReconnect, AfterMs: 1500, Reason: ReasonDrain},
		"ended":          FromEnding(session.Ending{Reason: session.EndRevoked, AccessEndsAt: 1_800_003_600}),
		"pong":           Pong{Type: TypePong, Now: 1_800_000_000_250},
		"error":          FromError(session.Errorf(session.CodeBadRequest, "rtc.uid: want less")),
	} {
		var got bytes.Buffer
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&got, text, "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The heartbeat is a sixth of the head start, and at most --heartbeat.
func TestHeartbeat(t *testing.T) {
	for _, c := range []struct{ longest, headStart, want time.Duration }{
		{50 * time.Second, 5 * time.Minute, 50 * time.Second}, // tokens with a lifetime of an hour
		{50 * time.Second, 12 * time.Hour, 50 * time.Second},  // a lifetime of a day, with --renew-before
		{50 * time.Second, time.Minute, 10 * time.Second},     // a lifetime of ten minutes
		{50 * time.Second, 45 * time.Second, 7 * time.Second}, // a lifetime of five minutes
		{50 * time.Second, 15 * time.Second, 2 * time.Second}, // a lifetime of 30 s
		{50 * time.Second, 5 * time.Second, time.Second},      // a lifetime of 10 s
		{50 * time.Second, time.Second, time.Second},
		{50 * time.Second, 0, time.Second},
		{25 * time.Second, 5 * time.Minute, 25 * time.Second},
		{2 * time.Second, 15 * time.Second, 2 * time.Second},
		{1500 * time.Millisecond, 5 * time.Minute, time.Second},
	} {
		if got := Heartbeat(c.longest, c.headStart); got != c.want {
			t.Errorf("--heartbeat=%s, head start %s: %s, want %s", c.longest, c.headStart, got, c.want)
		}
		got := FromJoined(session.Joined{RenewBefore: c.headStart}, c.longest).Heartbeat
		if want := int64(c.want / time.Second); got != want {
			t.Errorf("--heartbeat=%s, head start %s: joined says %d, want %d", c.longest, c.headStart, got, want)
		}
	}
}

func TestClientMessages(t *testing.T) {
	for text, want := range map[string]session.Join{
		`{"type":"join","rtc":{"channel":"c","uid":7,"role":"publisher"}}`:                               {Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Role: session.Publisher}}},
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":"006"}`:                                       {Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Format: new(session.Format006)},
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":null}`:                                        {Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}},
		`{"type":"join","rtc":{"channel":"c","account":"ana"},"ttl":60}`:                                 {Identity: session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}}, TTL: time.Minute},
		`{"type":"join","rtm":{"userId":"u"},"chat":{"userId":"v"},"rtc":null,"ttl":null,"more":[true]}`: {Identity: session.Identity{RTM: &session.RTM{UserID: "u"}, Chat: &session.Chat{UserID: "v"}}},
	} {
		m, refused := DecodeClient([]byte(text))
		if refused != nil {
			t.Fatal(refused)
		}
		got, refused := m.Join()
		if refused != nil {
			t.Fatal(refused)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	m, refused := DecodeClient([]byte(`{"type":"resume","session":"s","key":"k","seq":3,"expiresAt":9}`))
	if refused != nil {
		t.Fatal(refused)
	}
	got, refused := m.Resume()
	if diff := cmp.Diff(session.Resume{Session: "s", Key: "k", Seq: 3, ExpiresAt: 9}, got); refused != nil || diff != "" {
		t.Errorf("%v %s", refused, diff)
	}
}

// The SDK's error is written to the log, so it is cut to a maximum length and printable.
func TestSDKErrorIsBounded(t *testing.T) {
	text, err := json.Marshal(map[string]any{
		"type": "nack", "seq": 1, "code": strings.Repeat("é", 1000), "message": strings.Repeat("ü", 3000),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, refused := DecodeClient(text)
	if refused != nil {
		t.Fatal(refused)
	}
	code, message := m.SDKError()
	if len(code) > 64 || len(message) > 256 || !utf8.ValidString(code) || !utf8.ValidString(message) {
		t.Errorf("%d bytes %q, %d bytes %q", len(code), code, len(message), message)
	}
}

// For close codes with more than one meaning, the last message before the close decides.
func TestLastMessageDecides(t *testing.T) {
	const unknown, none = CloseCode(4999), CloseCode(-1)
	for _, code := range []CloseCode{unknown, none, 0} {
		if code.After("") != Retry || code.After(TypeError) != Retry || code.After(TypeEnded) != Stop {
			t.Errorf("%d: %s, after an error %s, after an ended %s", code, code.After(""), code.After(TypeError), code.After(TypeEnded))
		}
	}
	for _, c := range closeCodes {
		alone := c.Then
		if c.Needs != "" {
			alone = Retry
		}
		if got := c.Code.After(TypePong); got != alone {
			t.Errorf("%d alone: %s, want %s", c.Code, got, alone)
		}
		if got := c.Code.After(c.Needs); got != c.Then {
			t.Errorf("%d after %q: %s, want %s", c.Code, c.Needs, got, c.Then)
		}
	}
}

func TestCloseForError(t *testing.T) {
	for code, want := range map[session.Code]CloseCode{
		session.CodeBadRequest: 4400, session.CodeUnknownType: 4400, session.CodeUnauthenticated: 4401,
		session.CodeForbidden: 4403, session.CodeUnknownSession: 4404, session.CodeRateLimited: 4429,
		session.CodeUnavailable: 1013, session.CodeInternal: 1011,
	} {
		if got := CloseForError(code); got != want {
			t.Errorf("%s closes with %d, want %d", code, got, want)
		}
	}
}

// FuzzDecodeClient checks that every text is either decoded to a valid message or refused with an
// error that says why.
func FuzzDecodeClient(f *testing.F) {
	for _, seed := range []string{
		`{"type":"join","rtc":{"channel":"c","uid":1},"ttl":60}`, `{"type":"resume","session":"s","key":"k","seq":1}`,
		`{"type":"nack","seq":1,"code":3,"message":"m"}`, `{"type":"ack","seq":-1}`, `[]`, `{`, `null`, `{"type":{}}`,
		`{"type":"join","rtc":{"role":"x"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, refused := DecodeClient(data)
		if refused != nil {
			if refused.Code != session.CodeBadRequest || refused.Message == "" || len(refused.Message) > 2*len(data)+300 {
				t.Fatalf("refusal %+v", refused)
			}
			return
		}
		if m.Type == "" {
			t.Fatal("a message without type")
		}
		if j, refused := m.Join(); refused == nil {
			if j.Identity == (session.Identity{}) || j.TTL < 0 || j.TTL > session.MaxLifetime {
				t.Fatalf("join %+v", j)
			}
		}
		_, _ = m.Resume()
		_, _ = m.Answer()
		_, _ = m.SDKError()
		if refused := UnknownType(m.Type); len(refused.Message) > 300 {
			t.Fatalf("refusal of type %q: %v", m.Type, refused)
		}
	})
}
