package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/webhook/webhooktest"
)

const hookSecret = "what signs questions to the back end"

// question is one that a back end is asked.
type question struct {
	ID, Action, App, Session, Subject string
	RTC                               *struct {
		Channel string
		UID     uint32
		Account string
		Role    string
	}
	RTM *struct{ UserID string }
}

// backEnd is a customer's, which decides who may have tokens.
type backEnd struct {
	*httptest.Server
	mu     sync.Mutex
	decide func(q question) (allow bool, until session.UnixSec) // guarded by mu; nil: it is down
	reason string                                               // guarded by mu; for denials
	asked  []question                                           // guarded by mu
	counts []int                                                // guarded by mu; questions in each request
}

func newBackEnd(t *testing.T) *backEnd {
	t.Helper()
	b := &backEnd{}
	b.decideBy(func(question) (bool, session.UnixSec) { return true, 0 })
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhooktest.Verify(hookSecret, r.Header, body)
		}
		var request struct{ Requests []question }
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			t.Errorf("%s: %v", body, err)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		b.answer(w, request.Requests)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *backEnd) answer(w http.ResponseWriter, questions []question) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts = append(b.counts, len(questions))
	b.asked = append(b.asked, questions...)
	if b.decide == nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	type decision struct {
		ID    string          `json:"id"`
		Allow bool            `json:"allow"`
		Until session.UnixSec `json:"until,omitempty"`

		Reason string `json:"reason,omitempty"`
	}
	decisions := []decision{}
	for _, q := range questions {
		allow, until := b.decide(q)
		d := decision{ID: q.ID, Allow: allow, Until: until}
		if !allow {
			d.Reason = b.reason
		}
		decisions = append(decisions, d)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"decisions": decisions})
}

// decideBy changes what it decides by; nil has it fail.
func (b *backEnd) decideBy(decide func(q question) (allow bool, until session.UnixSec)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decide = decide
}

// refuse has it deny what is asked for by one action.
func (b *backEnd) refuse(action string) {
	b.decideBy(func(q question) (bool, session.UnixSec) { return q.Action != action, 0 })
}

// all are the questions so far.
func (b *backEnd) all() []question {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// supervised is a node that asks a back end, and one that knows its callers.
func supervised(t *testing.T, grace time.Duration) (*node, *backEnd, string) {
	t.Helper()
	b := newBackEnd(t)
	n := startNode(t, func(c *Config) {
		c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{Secrets: []string{operatorSecret}}
		c.AuthorizeURL, c.AuthorizeSecret, c.AuthorizeGrace = b.URL, hookSecret, grace
		c.Policy.MinTTL = 3 * time.Second
	})
	return n, b, credentialFor(t, "ana", false)
}

func TestAuthorizeIsAskedAtJoin(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	b.decideBy(func(q question) (bool, session.UnixSec) { return q.RTC.UID != 7, 0 })
	s := n.dial()
	s.send(joinMessage(ana, `"rtc":{"channel":"c","uid":7,"role":"publisher"}`))
	if refused := s.expect("error"); refused.Code != "forbidden" {
		t.Errorf("refused with %+v", refused)
	}
	s.closed(protocol.CloseForbidden)
	s = n.dial()
	s.send(joinMessage(ana, `"rtc":{"channel":"c","uid":8}`))
	joined := s.expect("joined")
	asked := b.all()
	if len(asked) != 2 {
		t.Fatalf("asked %+v", asked)
	}
	for i, uid := range []uint32{7, 8} {
		q := asked[i]
		if q.Action != "join" || q.App != testAppID || q.Subject != "ana" || q.Session == "" || q.RTC.Channel != "c" || q.RTC.UID != uid || q.RTM != nil {
			t.Errorf("asked %+v", q)
		}
	}
	if asked[0].RTC.Role != "publisher" || asked[1].RTC.Role != "subscriber" || asked[1].Session != joined.Session {
		t.Errorf("asked %+v", asked)
	}
}

// The back end's own word for a denial is in the log, once, and short; the client
// does not get it.
func TestAuthorizeReasonIsLogged(t *testing.T) {
	b := newBackEnd(t)
	b.reason = "no credit\n" + strings.Repeat("x", 200)
	g := startGuarded(t, func(c *Config) {
		guard(c)
		c.AuthorizeURL, c.AuthorizeSecret, c.AuthorizeGrace = b.URL, hookSecret, time.Minute
	}, Outside{}, (&net.Dialer{}).DialContext)
	denials := func() (lines []string) {
		for line := range strings.Lines(g.log.take()) {
			if strings.Contains(line, "the back end denied") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	logged := func(action, session string) {
		t.Helper()
		want := `action=` + action + ` app_id=` + testAppID + ` session=` + session + ` reason="no credit ` + strings.Repeat("x", 190) + `"` + "\n"
		if lines := denials(); len(lines) != 1 || !strings.HasSuffix(lines[0], want) || !strings.Contains(lines[0], "component=authorize") {
			t.Errorf("logged %q, want one line with %q", lines, want)
		}
	}
	ana := pass(nil)

	s := g.knock()
	s.send(joinMessage(ana, `"rtm":{"userId":"7"}`))
	joined := s.expect("joined")
	_ = s.CloseNow()
	if lines := denials(); len(lines) != 0 {
		t.Errorf("logged %q of what was allowed", lines)
	}

	b.decideBy(func(question) (bool, session.UnixSec) { return false, 0 })
	s = g.knock()
	s.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := s.expect("ended"); ended.Reason != "denied" {
		t.Errorf("ended %+v", ended)
	}
	logged("resume", joined.Session)
	s = g.knock()
	s.send(joinMessage(ana, `"rtm":{"userId":"7"}`))
	if refused := s.expect("error"); strings.Contains(refused.Message, "credit") {
		t.Errorf("refused with %+v", refused)
	}
	asked := b.all()
	logged("join", asked[len(asked)-1].Session)
	if answer, text := g.visit(http.MethodGet, "/rtm/7", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusForbidden || strings.Contains(text, "credit") {
		t.Errorf("a classic request: %d %s", answer.StatusCode, text)
	}
	logged("join", `""`)
	const burst = 10      // of lines, for one holder of a credential
	for range 3 * burst { // who asks on and on does not fill the log
		if answer, text := g.visit(http.MethodGet, "/rtm/7", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusForbidden {
			t.Errorf("a classic request: %d %s", answer.StatusCode, text)
		}
	}
	if lines := denials(); len(lines) == 0 || len(lines) > 2*burst {
		t.Errorf("%d lines of %d denials", len(lines), 3*burst)
	}
}

func TestAuthorizeDeniesARenewal(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	s := n.dial()
	s.send(joinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	joined := s.expect("joined")
	push := s.expect("token-privilege-will-expire")
	s.send(fmt.Sprintf(`{"type":"ack","seq":%d}`, push.Seq))
	b.refuse("renew")
	if ended := s.expect("ended"); ended.Reason != "denied" {
		t.Errorf("ended %+v", ended)
	}
	s.closed(protocol.CloseEnded)
	if answer, text := n.do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); answer.StatusCode != http.StatusGone {
		t.Errorf("renewed with the key: %d %s", answer.StatusCode, text)
	}
	b.decideBy(func(question) (bool, session.UnixSec) { return true, 0 })
	again := n.dial()
	again.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := again.expect("ended"); ended.Reason != "denied" {
		t.Errorf("resumed: %+v", ended)
	}
	again.closed(protocol.CloseEnded)
	renewals := 0
	for _, q := range b.all() {
		if q.Action == "renew" && q.Session == joined.Session {
			renewals++
		}
	}
	if renewals < 2 {
		t.Errorf("asked for %d renewals", renewals)
	}
}

func TestAuthorizeIsAskedWhenClientsComeBack(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	s := n.dial()
	s.send(joinMessage(ana, `"rtm":{"userId":"u"}`))
	joined := s.expect("joined")
	if err := s.CloseNow(); err != nil {
		t.Fatal(err)
	}
	b.refuse("resume")
	s = n.dial()
	s.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := s.expect("ended"); ended.Reason != "denied" {
		t.Errorf("resumed: %+v", ended)
	}
	s.closed(protocol.CloseEnded)
}

// While the back end fails, renewals go on for the grace after the tokens that it
// agreed to, and then the call ends with its tokens; nobody joins meanwhile.
func TestAuthorizeGrace(t *testing.T) {
	const ttl, grace = 4 * time.Second, 2 * time.Second
	n, b, ana := supervised(t, grace)
	s := n.dial()
	s.send(joinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	last := s.expect("joined")
	began := time.Now()
	b.decideBy(nil)

	other := n.dial()
	other.send(joinMessage(ana, `"rtm":{"userId":"v"}`))
	if refused := other.expect("error"); refused.Code != "unavailable" {
		t.Errorf("joined while nobody can be asked: %+v", refused)
	}
	other.expect("reconnect")
	other.closed(protocol.CloseOverload)
	if answer, _ := n.do(http.MethodGet, "/rtm/v", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a classic request: %d", answer.StatusCode)
	}

	renewals := 0
	for {
		m, code := s.read()
		if m.Type == "ended" {
			if m.Reason != "denied" {
				t.Errorf("ended: %+v", m)
			}
			break
		}
		if m.Type != "token-privilege-will-expire" {
			t.Fatalf("got %+v, closed with %d", m, code)
		}
		if after := time.Since(began); after > ttl+grace+time.Second {
			t.Errorf("renewed %v after the last yes", after)
		}
		renewals++
		last = m
		s.send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
	if renewals == 0 {
		t.Error("no renewal within the grace")
	}
	if over := time.Since(last.Tokens.RTM.ExpiresAt.Time()); over < -time.Second || over > 3*time.Second {
		t.Errorf("ended %v after its tokens", over)
	}
	t.Logf("%d renewals within a grace of %v", renewals, grace)
}

// A back end that was away for less than the grace is asked again, and its word
// counts.
func TestAuthorizeGoesOnAfterAnOutage(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	s := n.dial()
	s.send(joinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	s.expect("joined")
	b.decideBy(nil)
	for range 2 {
		m := s.expect("token-privilege-will-expire")
		s.send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
	b.refuse("renew")
	for {
		m, _ := s.read()
		if m.Type == "ended" {
			if m.Reason != "denied" {
				t.Errorf("ended: %+v", m)
			}
			return
		}
		s.send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
}

func TestAuthorizeIsAskedByTheClassicEndpoints(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	requests := all(classic("c", "7", "uid"), named("u"), []string{fetchRTC("c", 7)})
	for _, allow := range []bool{true, false} {
		b.decideBy(func(question) (bool, session.UnixSec) { return allow, 0 })
		for _, request := range requests {
			method, path, body := splitRequest(request)
			answer, text := n.do(method, path, body, "Authorization", "Bearer "+ana)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[allow]; answer.StatusCode != want {
				t.Errorf("%s: %d %s, want %d", request, answer.StatusCode, text, want)
			}
		}
	}
	asked := b.all()
	if len(asked) != 2*len(requests) {
		t.Errorf("%d questions for %d requests", len(asked), 2*len(requests))
	}
	for _, q := range asked {
		if q.Action != "join" || q.App != testAppID || q.Subject != "ana" || q.RTC == nil && q.RTM == nil && q.Session != "" {
			t.Errorf("asked %+v", q)
		}
	}
}

// A back end may say until when: no token outlives that, and the call ends.
func TestAuthorizeUntil(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	until := session.SecOf(time.Now()) + 4
	b.decideBy(func(question) (bool, session.UnixSec) { return true, until })
	s := n.dial()
	s.send(joinMessage(ana, `"rtm":{"userId":"u"},"ttl":60`))
	if joined := s.expect("joined"); joined.Tokens.RTM.ExpiresAt != until {
		t.Errorf("the tokens end at %d, want %d", joined.Tokens.RTM.ExpiresAt, until)
	}
	if ended := s.expect("ended"); ended.Reason != "expired" || session.SecOf(time.Now()) < until {
		t.Errorf("ended %+v at %d", ended, time.Now().Unix())
	}
}

// What is allowed to a time that is over is denied: as at a join, so without a
// session.
func TestAuthorizeUntilThePast(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	for _, ago := range []session.UnixSec{0, 1, 3600} {
		b.decideBy(func(question) (bool, session.UnixSec) { return true, session.SecOf(time.Now()) - ago })
		s := n.dial()
		s.send(joinMessage(ana, `"rtm":{"userId":"u"}`))
		if refused := s.expect("error"); refused.Code != "forbidden" {
			t.Errorf("a join, to %d s ago: %+v", ago, refused)
		}
		for _, request := range all(classic("c", "7", "uid"), named("u"), []string{fetchRTC("c", 7)}) {
			method, path, body := splitRequest(request)
			answer, text := n.do(method, path, body, "Authorization", "Bearer "+ana)
			if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, session.ErrDenied.Message) {
				t.Errorf("%s, to %d s ago: %d %s", request, ago, answer.StatusCode, text)
			}
		}
	}
}

// Questions travel together.
func TestAuthorizeBatches(t *testing.T) {
	n, b, ana := supervised(t, time.Minute)
	const joins = 100
	var sockets []*socket
	for range joins {
		sockets = append(sockets, n.dial())
	}
	for i, s := range sockets {
		s.send(joinMessage(ana, fmt.Sprintf(`"rtm":{"userId":"u%d"}`, i)))
	}
	for _, s := range sockets {
		s.expect("joined")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) != joins || len(b.counts) > joins/2 || slices.Max(b.counts) < 2 {
		t.Errorf("%d questions in requests of %v", len(b.asked), b.counts)
	}
	t.Logf("%d questions in %d requests", len(b.asked), len(b.counts))
}
