package access_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestAuthorizeIsAskedAtJoin(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	b.DecideBy(func(q apptest.ApprovalRequest) (bool, session.UnixSec) { return q.RTC.UID != 7, 0 })
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtc":{"channel":"c","uid":7,"role":"publisher"}`))
	if refused := s.Expect("error"); refused.Code != "forbidden" {
		t.Errorf("refused with %+v", refused)
	}
	s.Closed(protocol.CloseForbidden)
	s = n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtc":{"channel":"c","uid":8}`))
	joined := s.Expect("joined")
	asked := b.All()
	if len(asked) != 2 {
		t.Fatalf("asked %+v", asked)
	}
	for i, uid := range []uint32{7, 8} {
		q := asked[i]
		if q.Action != "join" || q.App != apptest.AppID || q.Subject != "ana" || q.Session == "" || q.RTC.Channel != "c" || q.RTC.UID != uid || q.RTM != nil {
			t.Errorf("asked %+v", q)
		}
	}
	if asked[0].RTC.Role != "publisher" || asked[1].RTC.Role != "subscriber" || asked[1].Session != joined.Session {
		t.Errorf("asked %+v", asked)
	}
}

// The back end's reason for a denial is logged once, shortened; the client does not see it.
func TestAuthorizeReasonIsLogged(t *testing.T) {
	b := apptest.NewBackEnd(t)
	b.Reason = "no credit\n" + strings.Repeat("x", 200)
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Authorize.URL, c.Authorize.Secret, c.Policy.ApprovalGrace = b.URL, apptest.HookSecret, time.Minute
	}, app.Outside{}, (&net.Dialer{}).DialContext)
	denials := func() (lines []string) {
		for line := range strings.Lines(g.Log.Take()) {
			if strings.Contains(line, "the back end denied") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	logged := func(action, session string) {
		t.Helper()
		want := `action=` + action + ` app_id=` + apptest.AppID + ` session=` + session + ` reason="no credit ` + strings.Repeat("x", 190) + `"` + "\n"
		if lines := denials(); len(lines) != 1 || !strings.HasSuffix(lines[0], want) || !strings.Contains(lines[0], "component=authorize") {
			t.Errorf("logged %q, want one line with %q", lines, want)
		}
	}
	ana := apptest.Pass(nil)

	s := g.Connect()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"7"}`))
	joined := s.Expect("joined")
	_ = s.CloseNow()
	if lines := denials(); len(lines) != 0 {
		t.Errorf("logged %q of what was allowed", lines)
	}

	b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return false, 0 })
	s = g.Connect()
	s.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := s.Expect("ended"); ended.Reason != "denied" {
		t.Errorf("ended %+v", ended)
	}
	logged("resume", joined.Session)
	s = g.Connect()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"7"}`))
	if refused := s.Expect("error"); strings.Contains(refused.Message, "credit") {
		t.Errorf("refused with %+v", refused)
	}
	asked := b.All()
	logged("join", asked[len(asked)-1].Session)
	if answer, text := g.Visit(http.MethodGet, "/rtm/7", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusForbidden || strings.Contains(text, "credit") {
		t.Errorf("a classic request: %d %s", answer.StatusCode, text)
	}
	logged("join", `""`)
	const burst = 10 // log lines about denials of one subject
	for range 3 * burst {
		if answer, text := g.Visit(http.MethodGet, "/rtm/7", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusForbidden {
			t.Errorf("a classic request: %d %s", answer.StatusCode, text)
		}
	}
	if lines := denials(); len(lines) == 0 || len(lines) > 2*burst {
		t.Errorf("%d lines of %d denials", len(lines), 3*burst)
	}
}

func TestAuthorizeDeniesARenewal(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	joined := s.Expect("joined")
	push := s.Expect("token-privilege-will-expire")
	s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, push.Seq))
	b.Refuse("renew")
	if ended := s.Expect("ended"); ended.Reason != "denied" {
		t.Errorf("ended %+v", ended)
	}
	s.Closed(protocol.CloseEnded)
	if answer, text := n.Do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); answer.StatusCode != http.StatusGone {
		t.Errorf("renewed with the key: %d %s", answer.StatusCode, text)
	}
	b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return true, 0 })
	again := n.Dial()
	again.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := again.Expect("ended"); ended.Reason != "denied" {
		t.Errorf("resumed: %+v", ended)
	}
	again.Closed(protocol.CloseEnded)
	renewals := 0
	for _, q := range b.All() {
		if q.Action == "renew" && q.Session == joined.Session {
			renewals++
		}
	}
	if renewals < 2 {
		t.Errorf("asked for %d renewals", renewals)
	}
}

func TestAuthorizeIsAskedWhenClientsComeBack(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"}`))
	joined := s.Expect("joined")
	if err := s.CloseNow(); err != nil {
		t.Fatal(err)
	}
	b.Refuse("resume")
	s = n.Dial()
	s.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	if ended := s.Expect("ended"); ended.Reason != "denied" {
		t.Errorf("resumed: %+v", ended)
	}
	s.Closed(protocol.CloseEnded)
}

// If a client hangs up while its approval is requested, its session is not opened, and no goroutine waits for the
// answer any longer.
func TestAuthorizeOfAClientThatHangsUp(t *testing.T) {
	b := apptest.NewBackEnd(t)
	asked, answer := make(chan string), make(chan struct{})
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Authorize.URL, c.Authorize.Secret, c.Policy.ApprovalGrace = b.URL, apptest.HookSecret, time.Minute
		c.Authorize.Timeout = time.Minute
	}, app.Outside{}, (&net.Dialer{}).DialContext)
	g.Level.Set(slog.LevelDebug)
	ana := apptest.Pass(nil)
	s := g.Connect()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"7"}`))
	joined := s.Expect("joined")
	_ = s.CloseNow()
	g.Log.Await("connection closed")
	b.DecideBy(func(q apptest.ApprovalRequest) (bool, session.UnixSec) {
		asked <- q.Action
		<-answer
		return true, 0
	})
	for _, first := range []string{
		apptest.JoinMessage(ana, `"rtm":{"userId":"7"}`),
		fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key),
	} {
		g.Log.Take()
		s := g.Connect()
		s.Send(first)
		<-asked
		_ = s.CloseNow()
		g.Log.Await("connection closed")
		answer <- struct{}{} // the approval arrives after the client has hung up
	}
	m := g.Metrics()
	if m[`refresher_joins_total{outcome="lost"}`] != 2 || m["refresher_authorize_waiting"] != 0 || m["refresher_sessions"] != 1 {
		t.Errorf("%v lost, %v wait, %v sessions", m[`refresher_joins_total{outcome="lost"}`], m["refresher_authorize_waiting"], m["refresher_sessions"])
	}
}

// While the back end fails, renewals continue until --authorize-grace after the last approved
// tokens. Then the session ends. Joins are refused from the start of the failure.
func TestAuthorizeGrace(t *testing.T) {
	const ttl, grace = 4 * time.Second, 2 * time.Second
	n, b, ana := apptest.Supervised(t, grace)
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	last := s.Expect("joined")
	began := time.Now()
	b.DecideBy(nil)

	other := n.Dial()
	other.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"v"}`))
	if refused := other.Expect("error"); refused.Code != "unavailable" {
		t.Errorf("joined while nobody can be asked: %+v", refused)
	}
	other.Expect("reconnect")
	other.Closed(protocol.CloseOverload)
	if answer, _ := n.Do(http.MethodGet, "/rtm/v", "", "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("a classic request: %d", answer.StatusCode)
	}

	renewals := 0
	for {
		m, code := s.Next()
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
		s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
	if renewals == 0 {
		t.Error("no renewal within the grace")
	}
	if over := time.Since(last.Tokens.RTM.ExpiresAt.Time()); over < -time.Second || over > 3*time.Second {
		t.Errorf("ended %v after its tokens", over)
	}
	t.Logf("%d renewals within a grace of %v", renewals, grace)
}

// If the back end recovers within --authorize-grace, the next renewal requests its approval again.
func TestAuthorizeGoesOnAfterAnOutage(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"},"ttl":4`))
	s.Expect("joined")
	b.DecideBy(nil)
	for range 2 {
		m := s.Expect("token-privilege-will-expire")
		s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
	b.Refuse("renew")
	for {
		m, _ := s.Next()
		if m.Type == "ended" {
			if m.Reason != "denied" {
				t.Errorf("ended: %+v", m)
			}
			return
		}
		s.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq))
	}
}

func TestAuthorizeIsAskedByTheClassicEndpoints(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	requests := apptest.AllClassic("c", "7", "u")
	for _, allow := range []bool{true, false} {
		b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return allow, 0 })
		for _, request := range requests {
			answer, text := n.Do(request.Method, request.Path, request.Body, "Authorization", "Bearer "+ana)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[allow]; answer.StatusCode != want {
				t.Errorf("%s: %d %s, want %d", request, answer.StatusCode, text, want)
			}
		}
	}
	asked := b.All()
	if len(asked) != 2*len(requests) {
		t.Errorf("%d approval requests for %d requests", len(asked), 2*len(requests))
	}
	for _, q := range asked {
		if q.Action != "join" || q.App != apptest.AppID || q.Subject != "ana" || q.RTC == nil && q.RTM == nil && q.Session != "" {
			t.Errorf("asked %+v", q)
		}
	}
}

// If the back end approves until a time, no token expires later, and the session ends at that time.
func TestAuthorizeUntil(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	until := session.SecOf(time.Now()) + 4
	b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return true, until })
	s := n.Dial()
	s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"},"ttl":60`))
	if joined := s.Expect("joined"); joined.Tokens.RTM.ExpiresAt != until {
		t.Errorf("the tokens end at %d, want %d", joined.Tokens.RTM.ExpiresAt, until)
	}
	if ended := s.Expect("ended"); ended.Reason != "expired" || session.SecOf(time.Now()) < until {
		t.Errorf("ended %+v at %d", ended, time.Now().Unix())
	}
}

// An approval whose end is in the past is a denial, for joins and for tokens without a session.
func TestAuthorizeUntilThePast(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	for _, ago := range []session.UnixSec{0, 1, 3600} {
		b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return true, session.SecOf(time.Now()) - ago })
		s := n.Dial()
		s.Send(apptest.JoinMessage(ana, `"rtm":{"userId":"u"}`))
		if refused := s.Expect("error"); refused.Code != "forbidden" {
			t.Errorf("a join, to %d s ago: %+v", ago, refused)
		}
		for _, request := range apptest.AllClassic("c", "7", "u") {
			answer, text := n.Do(request.Method, request.Path, request.Body, "Authorization", "Bearer "+ana)
			if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, session.ErrDenied.Message) {
				t.Errorf("%s, to %d s ago: %d %s", request, ago, answer.StatusCode, text)
			}
		}
	}
}

// Approval requests are sent in batches.
func TestAuthorizeBatches(t *testing.T) {
	n, b, ana := apptest.Supervised(t, time.Minute)
	const joins = 100
	var sockets []*apptest.Socket
	for range joins {
		sockets = append(sockets, n.Dial())
	}
	for i, s := range sockets {
		s.Send(apptest.JoinMessage(ana, fmt.Sprintf(`"rtm":{"userId":"u%d"}`, i)))
	}
	for _, s := range sockets {
		s.Expect("joined")
	}
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if len(b.Asked) != joins || len(b.Counts) > joins/2 || slices.Max(b.Counts) < 2 {
		t.Errorf("%d approval requests in HTTP requests of %v", len(b.Asked), b.Counts)
	}
	t.Logf("%d approval requests in %d HTTP requests", len(b.Asked), len(b.Counts))
}
