package access

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/hook"
	"refresher/internal/session"
)

// revocations fakes a node's copy of the revocations.
type revocations struct{ unread, matches bool }

func (r *revocations) Loaded() bool                       { return !r.unread }
func (r *revocations) Revoked(*session.ResumeClaims) bool { return r.matches }

// approval fakes the back end's approval and records the requests.
type approval struct {
	asked  []hook.Request
	answer func(ctx context.Context) (hook.Answer, error)
}

func (a *approval) Request(ctx context.Context, q hook.Request) (hook.Answer, error) {
	a.asked = append(a.asked, q)
	return a.answer(ctx)
}

func allows(context.Context) (hook.Answer, error) { return hook.Answer{Allow: true}, nil }
func denies(context.Context) (hook.Answer, error) {
	return hook.Answer{Reason: "no credit"}, nil
}

func hangs(ctx context.Context) (hook.Answer, error) {
	<-ctx.Done()
	return hook.Answer{}, ctx.Err()
}

var errAway = errors.New("the back end is away")

func isAway(context.Context) (hook.Answer, error) { return hook.Answer{}, errAway }

func until(at session.UnixSec) func(context.Context) (hook.Answer, error) {
	return func(context.Context) (hook.Answer, error) {
		return hook.Answer{Allow: true, Until: at}, nil
	}
}

func newAccess(t *testing.T, c Config) *Access {
	t.Helper()
	if c.Auth == "" {
		c.Auth, c.Port.Local = "none", true
	}
	if c.Projects == nil {
		c.Projects = []credential.Project{{App: "app"}}
	}
	if c.Revocations == nil {
		c.Revocations = &revocations{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Registerer = prometheus.NewRegistry()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var (
	granted = session.Grant{Channels: []string{"daily"}, UIDs: []string{"7"}, Roles: []session.Role{session.Subscriber, session.Publisher}}
	ana     = session.Identity{RTC: &session.RTC{Channel: "daily", UID: 7, Role: session.Publisher}}
)

// requests has one request of each kind. Requests of an existing session have no caller.
var requests = map[string]session.Request{
	"join":              {Action: session.ActionJoin, Claims: &session.ResumeClaims{Session: "s", App: "app", Subject: "ana", Identity: ana}, Caller: &session.Caller{App: "app", Subject: "ana", Grant: granted}},
	"classic token":     {Action: session.ActionJoin, Claims: &session.ResumeClaims{App: "app", Subject: "ana", Identity: ana}, Caller: &session.Caller{App: "app", Subject: "ana", Grant: granted}},
	"resume":            {Action: session.ActionResume, Claims: &session.ResumeClaims{Session: "s", App: "app", Subject: "ana", Identity: ana}},
	"HTTP renewal":      {Action: session.ActionRenew, Claims: &session.ResumeClaims{Session: "s", App: "app", Subject: "ana", Identity: ana}},
	"scheduled renewal": {Action: session.ActionRenew, Claims: &session.ResumeClaims{Session: "s", App: "app", Subject: "ana", Identity: ana}},
}

// TestAuthorize authorizes each request in each state of the revocations and the back end. The decision must depend on
// this state only, and not on the kind of request.
func TestAuthorize(t *testing.T) {
	const hour = session.UnixSec(946684800 + 3600) // an hour after 2000-01-01, at which the clock of synctest starts
	for name, state := range map[string]struct {
		revocations revocations
		backEnd     func(ctx context.Context) (hook.Answer, error)
		want        session.Decision
		asked       int
	}{
		"nobody to ask":       {want: session.Decision{Allowed: true}},
		"allowed":             {backEnd: allows, want: session.Decision{Allowed: true}, asked: 1},
		"allowed for an hour": {backEnd: until(hour), want: session.Decision{Allowed: true, Until: hour}, asked: 1},
		"revoked":             {revocations: revocations{matches: true}, backEnd: allows, want: session.Refuse(session.Revoked)},
		"not loaded":          {revocations: revocations{unread: true}, backEnd: allows, want: session.Refuse(session.RevocationsUnknown)},
		"not loaded, revoked": {revocations: revocations{unread: true, matches: true}, want: session.Refuse(session.RevocationsUnknown)},
		"denied":              {backEnd: denies, want: session.Refuse(session.Denied), asked: 1},
		"cannot be asked":     {backEnd: isAway, want: session.Decision{Reason: session.ApprovalUnavailable, RetryAfter: 2 * time.Second, Cause: errAway}, asked: 1},
		"hangs":               {backEnd: hangs, want: session.Decision{Reason: session.ApprovalUnavailable, RetryAfter: 2 * time.Second, Cause: context.DeadlineExceeded}, asked: 1},
	} {
		for action, request := range requests {
			t.Run(name+"/"+action, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &approval{answer: state.backEnd}
					c := Config{Revocations: &state.revocations}
					if b.answer != nil {
						c.Approval = b
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					want := state.want
					want.Role = session.Publisher
					if got := newAccess(t, c).Authorize(ctx, request); got != want {
						t.Errorf("got %+v, want %+v", got, want)
					}
					if len(b.asked) != state.asked {
						t.Fatalf("asked %+v", b.asked)
					}
					for _, q := range b.asked {
						if q.Action != request.Action || q.App != "app" || q.Session != request.Claims.Session || q.Subject != "ana" || q.Identity != ana {
							t.Errorf("asked %+v", q)
						}
					}
				})
			})
		}
	}
}

// A revocation that is added while approval is requested refuses the request.
func TestRevocationWhileTheBackEndIsAsked(t *testing.T) {
	for action, request := range requests {
		known := &revocations{}
		a := newAccess(t, Config{Revocations: known, Approval: &approval{answer: func(context.Context) (hook.Answer, error) {
			known.matches = true
			return hook.Answer{Allow: true}, nil
		}}})
		if got := a.Authorize(t.Context(), request); got.Allowed || got.Reason != session.Revoked {
			t.Errorf("%s: %+v", action, got)
		}
	}
}

func TestRecheckAndRevokedLookAtRevocationsOnly(t *testing.T) {
	b := &approval{answer: denies}
	for want, known := range map[session.Decision]revocations{
		{Allowed: true}:                            {},
		session.Refuse(session.Revoked):            {matches: true},
		session.Refuse(session.RevocationsUnknown): {unread: true, matches: true},
	} {
		a := newAccess(t, Config{Revocations: &known, Approval: b})
		if got := a.Recheck(requests["resume"].Claims); got != want {
			t.Errorf("%+v: %+v", known, got)
		}
		if got := a.Revoked(requests["resume"].Claims); got != known.matches {
			t.Errorf("%+v: revoked %v", known, got)
		}
	}
	if len(b.asked) != 0 {
		t.Errorf("asked %+v", b.asked)
	}
}

// If a caller shows a credential, its grant is checked before approval is requested.
func TestAuthorizeChecksTheGrant(t *testing.T) {
	now := session.SecOf(time.Now())
	for name, c := range map[string]struct {
		caller  *session.Caller
		id      session.Identity
		backEnd func(context.Context) (hook.Answer, error)
		want    session.Decision // its Refusal is compared by Message only
		asked   int
	}{
		"another channel": {
			&session.Caller{Grant: granted},
			session.Identity{RTC: &session.RTC{Channel: "else", UID: 7}},
			allows,
			session.Decision{Reason: session.NotGranted, Refusal: &session.Error{Message: "rtc.channel: the credential does not grant this"}},
			0,
		},
		"no credential any more": {
			nil, session.Identity{RTC: &session.RTC{Channel: "else", UID: 7}}, allows, session.Decision{Allowed: true}, 1,
		},
		"over":                    {&session.Caller{Grant: session.Grant{All: true, Until: now}}, ana, allows, session.Refuse(session.Denied), 1},
		"over, by the back end":   {&session.Caller{Grant: session.Grant{All: true}}, ana, until(now), session.Refuse(session.Denied), 1},
		"over, and has a session": {nil, ana, until(now), session.Decision{Allowed: true, Until: now}, 1}, // the engine ends the session at Until
		"the sooner is the grant's": {
			&session.Caller{Grant: session.Grant{All: true, Until: now + 100}}, ana, until(now + 200), session.Decision{Allowed: true, Until: now + 100}, 1,
		},
		"the sooner is the back end's": {
			&session.Caller{Grant: session.Grant{All: true, Until: now + 200}}, ana, until(now + 100), session.Decision{Allowed: true, Until: now + 100}, 1,
		},
		"the app token, for a user": {
			&session.Caller{Grant: granted},
			session.Identity{},
			allows,
			session.Decision{Reason: session.NotGranted, Refusal: &session.Error{Message: `Chat's app token wants a credential with the scope "admin"`}},
			0,
		},
		"the app token, for an admin": {&session.Caller{Admin: true, Grant: granted}, session.Identity{}, denies, session.Decision{Allowed: true}, 0},
		"the app token, for anybody":  {&session.Caller{Grant: session.Grant{All: true}}, session.Identity{}, denies, session.Decision{Allowed: true}, 0},
	} {
		b := &approval{answer: c.backEnd}
		got := newAccess(t, Config{Approval: b}).Authorize(t.Context(), session.Request{Action: session.ActionJoin, Caller: c.caller, Claims: &session.ResumeClaims{Identity: c.id}})
		if c.want.Refusal != nil && (got.Refusal == nil || got.Refusal.Code != session.CodeForbidden || got.Refusal.Message != c.want.Refusal.Message) {
			t.Errorf("%s: refused with %v", name, got.Refusal)
		}
		got.Refusal, c.want.Refusal = nil, nil
		if c.id.RTC != nil {
			c.want.Role = c.id.RTC.Role
		}
		if got != c.want || len(b.asked) != c.asked {
			t.Errorf("%s: %+v, want %+v; asked %d times", name, got, c.want, len(b.asked))
		}
	}
}

// Repeated denials of one subject are logged at a limited rate, but a denial that ends a session
// always is.
func TestDenialsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := newAccess(t, Config{Approval: &approval{answer: denies}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for action, want := range map[string]int{"join": deniedBurst, "scheduled renewal": 3 * deniedBurst} {
			time.Sleep(time.Minute) // bubble: the limit on log lines is back at its full burst
			log.Reset()
			for range 3 * deniedBurst {
				a.Authorize(t.Context(), requests[action])
			}
			if got := strings.Count(log.String(), "the back end denied"); got != want {
				t.Errorf("%s: %d lines, want %d", action, got, want)
			}
		}
		if text := log.String(); !strings.Contains(text, `component=authorize`) || !strings.Contains(text, `reason="no credit"`) {
			t.Errorf("logged %s", text)
		}
	})
}
