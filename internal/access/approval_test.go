package access_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// A node requests the back end's approval for each join, resume, renewal and token without a session, and obeys the
// answer.
func TestBackEndDecides(t *testing.T) {
	b := apptest.NewBackEnd(t)
	b.Reason = "no credit"
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Authorize.URL, c.Authorize.Secret, c.Policy.ApprovalGrace = b.URL, apptest.HookSecret, time.Minute
	}, app.Outside{}, (&net.Dialer{}).DialContext)
	ana := apptest.Pass(nil)
	const services = `"rtc":{"channel":"c","uid":7,"role":"publisher"}`
	opened := func() (*apptest.Socket, apptest.Message) {
		s := g.Connect()
		s.Send(apptest.JoinMessage(ana, services))
		return s, s.Expect(protocol.TypeJoined)
	}
	s, renewed := opened()
	lost, resumed := opened()
	_ = lost.CloseNow()
	classic := apptest.AllClassic("c", "7", "u")

	for _, allow := range []bool{true, false} {
		b.DecideBy(func(apptest.ApprovalRequest) (bool, session.UnixSec) { return allow, 0 })
		for _, r := range classic {
			a := g.Enter(r, ana)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[allow]; a.Status != want || strings.Contains(a.Body, b.Reason) {
				t.Errorf("%s, allowed %t: %+v", r, allow, a)
			}
		}
	}
	if a := g.Join(services, ana); a.Code != "forbidden" || a.Closed != protocol.CloseForbidden || strings.Contains(a.Message, b.Reason) {
		t.Errorf("a join: %+v", a)
	}
	s.Send(`{"type":"renew"}`)
	if m := s.Expect(protocol.TypeEnded); m.Reason != "denied" {
		t.Errorf("a renewal: %+v", m)
	}
	s.Closed(protocol.CloseEnded)
	s = g.Connect()
	s.Send(apptest.ResumeText(resumed, 1))
	if m := s.Expect(protocol.TypeEnded); m.Reason != "denied" {
		t.Errorf("a resume: %+v", m)
	}
	if log := g.Log.Take(); !strings.Contains(log, `action=renew app_id=`+apptest.AppID+` session=`+renewed.Session+` reason="no credit"`) {
		t.Errorf("the log: %s", log)
	}

	requests := make(map[string]int)
	for _, q := range b.All() {
		requests[q.Action+" "+q.Session]++
		if q.App != apptest.AppID || q.Subject != "ana" || q.Session != "" && (q.RTC == nil || q.RTC.Channel != "c" || q.RTC.UID != 7 || q.RTC.Role != "publisher") {
			t.Errorf("requested %+v", q)
		}
	}
	for what, want := range map[string]int{
		"join " + renewed.Session: 1, "renew " + renewed.Session: 1, "join " + resumed.Session: 1, "resume " + resumed.Session: 1, "join ": 2 * len(classic),
	} {
		if requests[what] != want {
			t.Errorf("%q was requested %d times, want %d", what, requests[what], want)
		}
	}

	b.DecideBy(nil) // the back end fails for every request
	if a := g.Join(services, ana); a.Code != "unavailable" || a.Closed != protocol.CloseOverload {
		t.Errorf("a join while the back end fails: %+v", a)
	}
	if a := g.Enter(classic[0], ana); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a classic token while the back end fails: %+v", a)
	}
}
