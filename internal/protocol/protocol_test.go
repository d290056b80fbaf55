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

// The heartbeat is a sixth of the head start, the time between the renewal and the expiry of tokens. It is in whole
// seconds, and at most --heartbeat.
func TestHeartbeat(t *testing.T) {
	for _, c := range []struct{ longest, headStart, want time.Duration }{
		{50 * time.Second, 5 * time.Minute, 50 * time.Second},
		{25 * time.Second, 5 * time.Minute, 25 * time.Second},
		{50 * time.Second, time.Minute, 10 * time.Second},
		{50 * time.Second, 45 * time.Second, 7 * time.Second},
		{50 * time.Second, 5 * time.Second, time.Second},
		{50 * time.Second, 0, time.Second},
		{1500 * time.Millisecond, 5 * time.Minute, time.Second},
	} {
		joined := FromJoined(session.Joined{RenewBefore: c.headStart}, c.longest)
		if got := Heartbeat(c.longest, c.headStart); got != c.want || joined.Heartbeat != int64(c.want/time.Second) {
			t.Errorf("--heartbeat=%s, head start %s: %s, want %s; joined says %d", c.longest, c.headStart, got, c.want, joined.Heartbeat)
		}
	}
}

func TestClientMessages(t *testing.T) {
	seq := uint64(3)
	rtm := session.Identity{RTM: &session.RTM{UserID: "u"}}
	for text, want := range map[string]any{
		`{"type":"join","rtc":{"channel":"c","uid":7,"role":"publisher"}}`:                            session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Role: session.Publisher}}},
		`{"type":"join","rtc":{"channel":"c","account":"ana"},"ttl":60}`:                              session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", Account: "ana"}}, TTL: time.Minute},
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":"006"}`:                                    session.Join{Identity: rtm, Format: new(session.Format006)},
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":null,"rtc":null,"ttl":null,"more":[true]}`: session.Join{Identity: rtm},
		`{"type":"join","chat":{"userId":"v"}}`:                                                       session.Join{Identity: session.Identity{Chat: &session.Chat{UserID: "v"}}},
		`{"type":"resume","session":"s","key":"k","seq":3,"expiresAt":9}`:                             session.Resume{Session: "s", Key: "k", Seq: seq, ExpiresAt: 9},
		`{"type":"ack","seq":3}`:                   seq,
		`{"type":"nack","seq":3,"code":5}`:         seq,
		`{"type":"nack","seq":3,"code":"INVALID"}`: seq,
		`{}`:                                    "type: missing",
		`{"type":`:                              "not JSON: ",
		`[1]`:                                   "want one JSON object with a type, have a JSON array",
		`{"type":1}`:                            `type: want a string, such as "join", have a JSON number`,
		`{"type":"hello"}`:                      `type "hello": want join, `,
		`{"type":"join"}`:                       "join: names no service",
		`{"type":"join","rtc":7}`:               "rtc: want an object",
		`{"type":"join","rtc":{"channel":"c"}}`: "rtc: has neither",
		`{"type":"join","rtc":{"channel":"c","uid":1,"account":"a"}}`:    "rtc: has both",
		`{"type":"join","rtc":{"channel":"c","uid":-1}}`:                 "rtc.uid: want an integer",
		`{"type":"join","rtc":{"channel":"c","account":""}}`:             "rtc.account: is empty",
		`{"type":"join","rtc":{"channel":7}}`:                            "rtc.channel: want a string",
		`{"type":"join","rtc":{"role":"admin"}}`:                         "rtc.role: want ",
		`{"type":"join","chat":{}}`:                                      "chat.userId: is missing or empty",
		`{"type":"join","rtm":{"userId":"u"},"ttl":0}`:                   "ttl: want 1 to ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":9223372036854775807}`: "ttl: want 1 to ",
		`{"type":"join","rtm":{"userId":"u"},"ttl":10.5}`:                "ttl: want a whole number",
		`{"type":"join","rtm":{"userId":"u"},"tokenFormat":"005"}`:       "tokenFormat: want ",
		`{"type":"resume","session":"s"}`:                                "resume: want session and key",
		`{"type":"ack"}`:                                                 "ack.seq: missing",
		`{"type":"ack","seq":-1}`:                                        "seq: want a whole number",
		`{"type":"nack","seq":1,"code":{}}`:                              "code: want a string or a number",
	} {
		got, refused := decode(text)
		if message, isRefusal := want.(string); isRefusal {
			if refused == nil || !strings.HasPrefix(refused.Message, message) {
				t.Errorf("%s: %v, want %s", text, refused, message)
			}
			continue
		}
		if diff := cmp.Diff(want, got); refused != nil || diff != "" {
			t.Errorf("%s: %v %s", text, refused, diff)
		}
	}
}

func decode(text string) (any, *session.Error) {
	m, refused := DecodeClient([]byte(text))
	if refused != nil {
		return nil, refused
	}
	switch m.Type {
	case TypeJoin:
		return m.Join()
	case TypeResume:
		return m.Resume()
	case TypeAck, TypeNack:
		return m.Answer()
	default:
		return nil, UnknownType(m.Type)
	}
}

// The SDK's error is written to the log, so it is cut to a maximum length, is printable, and contains no token.
func TestSDKErrorIsBounded(t *testing.T) {
	secret := strings.Repeat("007", 20)
	m := ClientMessage{Code: SDKCode(strings.Repeat("é", 1000)), Message: secret + strings.Repeat("ü", 3000)}
	code, message := m.SDKError()
	if len(code) > 64 || len(message) > 256 || !utf8.ValidString(code) || !utf8.ValidString(message) || strings.Contains(message, "007") {
		t.Errorf("%d bytes %q, %d bytes %q", len(code), code, len(message), message)
	}
}

// For close codes with more than one meaning, the last message before the close decides.
func TestLastMessageDecides(t *testing.T) {
	for _, code := range []CloseCode{4999, -1, 0} {
		if code.Known() || code.After("") != Retry || code.After(TypeError) != Retry || code.After(TypeEnded) != Stop {
			t.Errorf("%d: %s, after an error %s, after an ended %s", code, code.After(""), code.After(TypeError), code.After(TypeEnded))
		}
	}
	for _, c := range CloseCodes() {
		alone := c.Then
		if c.Needs != "" {
			alone = Retry
		}
		if got := c.Code.After(TypePong); got != alone || !c.Code.Known() {
			t.Errorf("%d alone: %s, want %s", c.Code, got, alone)
		}
		if got := c.Code.After(c.Needs); got != c.Then {
			t.Errorf("%d after %q: %s, want %s", c.Code, c.Needs, got, c.Then)
		}
	}
}

func TestCodesOfErrors(t *testing.T) {
	for code, want := range map[session.Code]struct {
		closes CloseCode
		status int
	}{
		session.CodeBadRequest: {4400, 400}, session.CodeUnknownType: {4400, 400}, session.CodeUnauthenticated: {4401, 401},
		session.CodeForbidden: {4403, 403}, session.CodeUnknownSession: {4404, 404}, session.CodeRateLimited: {4429, 429},
		session.CodeUnavailable: {1013, 503}, session.CodeInternal: {1011, 500},
	} {
		if closes, status := CloseForError(code), StatusForError(code); closes != want.closes || status != want.status {
			t.Errorf("%s: %d and %d, want %v", code, closes, status, want)
		}
	}
	for reason, want := range map[session.EndReason][2]CloseCode{
		session.EndLeft: {1000, 4410}, session.EndSuperseded: {4409, 4409}, session.EndRevoked: {4410, 4410},
	} {
		if got := [2]CloseCode{CloseForEnd(reason), CloseForReturn(reason)}; got != want {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
}

// The result of IdentityOf shares no memory with the session's identity, because the role in that identity may change.
func TestIdentityOf(t *testing.T) {
	id := session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}, RTM: &session.RTM{UserID: "ana"}, Chat: &session.Chat{UserID: "ben"}}
	uid, account := uint32(7), "ana"
	got := IdentityOf(id)
	id.RTC.UID, id.RTC.Role = 8, session.Publisher
	if diff := cmp.Diff(Identity{RTC: &RTC{Channel: "c", UID: &uid}, RTM: &User{"ana"}, Chat: &User{"ben"}}, got); diff != "" {
		t.Error(diff)
	}
	got = IdentityOf(session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Account: account}})
	if diff := cmp.Diff(Identity{RTC: &RTC{Channel: "c", Account: &account}}, got); diff != "" {
		t.Error(diff)
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
		if j, refused := m.Join(); refused == nil && (j.Identity == (session.Identity{}) || j.TTL < 0 || j.TTL > session.MaxLifetime) {
			t.Fatalf("join %+v", j)
		}
		_, _ = m.Resume()
		_, _ = m.SDKError()
		if refused := UnknownType(m.Type); len(refused.Message) > 300 {
			t.Fatalf("refusal of type %q: %v", m.Type, refused)
		}
	})
}

// FuzzFrequent checks that Frequent and encoding/json decode a message to the same values.
func FuzzFrequent(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"renew"}`, `{"type":"ack","seq":1}`, `{"type":"ack","seq":4503599627370496}`, `{"type":"ack","seq":0}`,
		`{"type":"ack","seq":01}`, `{"type":"ack","seq":}`, `{"type":"ack","seq":-1}`, `{"type":"ack","seq":1.5}`, `{"type":"ack","seq":1e3}`,
		`{"type":"ack","seq":99999999999999999999}`, `{"type":"ack","seq":1}}`, `{"type":"ack","seq":1`, `{"type":"ping"} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, seq, ok := Frequent(data)
		if !ok {
			return
		}
		have := ClientMessage{Type: kind}
		if kind == TypeAck {
			have.Seq = &seq
		}
		var want ClientMessage
		if err := json.Unmarshal(data, &want); err != nil || !cmp.Equal(have, want) {
			t.Errorf("%s: %+v, want %+v, %v", data, have, want, err)
		}
	})
}

// Frequent decodes what encoding/json writes for a message. AppendPong writes a pong exactly as encoding/json does.
func TestFrequent(t *testing.T) {
	seq := uint64(12)
	for _, m := range []ClientMessage{{Type: TypePing}, {Type: TypeRenew}, {Type: TypeAck, Seq: &seq}} {
		data, _ := json.Marshal(m)
		if kind, have, ok := Frequent(data); !ok || kind != m.Type || kind == TypeAck && have != seq {
			t.Errorf("%s: %s, %d, %t", data, kind, have, ok)
		}
	}
	for _, now := range []session.UnixMilli{0, -5, 1796040000412} {
		want, _ := json.Marshal(Pong{Type: TypePong, Now: now})
		if have := AppendPong(nil, now); string(have) != string(want) {
			t.Errorf("%s, want %s", have, want)
		}
	}
}
