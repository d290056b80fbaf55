package access

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/hook"
	"refresher/internal/session"
)

type revocations struct{ unread, matches bool }

func (r *revocations) Loaded() bool                       { return !r.unread }
func (r *revocations) Revoked(*session.ResumeClaims) bool { return r.matches }

// approval records the requests for approval.
type approval struct {
	asked  []hook.Request
	answer func(ctx context.Context) (hook.Answer, error)
}

func (a *approval) Request(ctx context.Context, q hook.Request) (hook.Answer, error) {
	a.asked = append(a.asked, q)
	return a.answer(ctx)
}

func answers(a hook.Answer, err error) func(context.Context) (hook.Answer, error) {
	return func(context.Context) (hook.Answer, error) { return a, err }
}

var (
	allows = answers(hook.Answer{Allow: true}, nil)
	denies = answers(hook.Answer{Reason: "no credit"}, nil)
)

func until(at session.UnixSec) func(context.Context) (hook.Answer, error) {
	return answers(hook.Answer{Allow: true, Until: at}, nil)
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

func request(action session.Action, id string, caller *session.Caller) session.Request {
	return session.Request{Action: action, Claims: &session.ResumeClaims{Session: id, App: "app", Subject: "ana", Identity: ana}, Caller: caller}
}

// requests has one request of each kind. Resumes and renewals have no caller: their grant is in the session's resume
// key.
var requests = map[string]session.Request{
	"join":          request(session.ActionJoin, "s", &session.Caller{App: "app", Subject: "ana", Grant: granted}),
	"classic token": request(session.ActionJoin, "", &session.Caller{App: "app", Subject: "ana", Grant: granted}),
	"resume":        request(session.ActionResume, "s", nil),
	"renewal":       request(session.ActionRenew, "s", nil),
}

// TestAuthorize authorizes each request in each state of the revocations and the back end. The decision must depend on
// this state only, and not on the kind of request.
func TestAuthorize(t *testing.T) {
	const hour = session.UnixSec(946684800 + 3600) // the clock of synctest starts at 2000-01-01
	errAway := errors.New("the back end is away")
	hangs := func(ctx context.Context) (hook.Answer, error) {
		<-ctx.Done()
		return hook.Answer{}, ctx.Err()
	}
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
		"not loaded, revoked": {revocations: revocations{unread: true, matches: true}, backEnd: allows, want: session.Refuse(session.RevocationsUnknown)},
		"denied":              {backEnd: denies, want: session.Refuse(session.Denied), asked: 1},
		"cannot be asked":     {backEnd: answers(hook.Answer{}, errAway), want: session.Decision{Reason: session.ApprovalUnavailable, RetryAfter: 2 * time.Second, Cause: errAway}, asked: 1},
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
					q := hook.Request{Action: request.Action, App: "app", Session: request.Claims.Session, Subject: "ana", Identity: ana}
					if state.asked == 1 && b.asked[0] != q {
						t.Errorf("asked %+v, want %+v", b.asked[0], q)
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

func TestRecheckAndRevokedCheckOnlyRevocations(t *testing.T) {
	b := &approval{answer: denies}
	for want, known := range map[session.Decision]revocations{
		{Allowed: true}:                            {},
		session.Refuse(session.Revoked):            {matches: true},
		session.Refuse(session.RevocationsUnknown): {unread: true, matches: true},
	} {
		a, claims := newAccess(t, Config{Revocations: &known, Approval: b}), requests["resume"].Claims
		if got := a.Recheck(claims); got != want || a.Revoked(claims) != known.matches || len(b.asked) != 0 {
			t.Errorf("%+v: %+v, revoked %v; asked %+v", known, got, a.Revoked(claims), b.asked)
		}
	}
}

// If a caller shows a credential, its grant is checked before approval is requested.
func TestAuthorizeChecksTheGrant(t *testing.T) {
	now := session.SecOf(time.Now())
	all := func(until session.UnixSec) *session.Caller {
		return &session.Caller{Grant: session.Grant{All: true, Until: until}}
	}
	elsewhere := session.Identity{RTC: &session.RTC{Channel: "else", UID: 7, Role: session.Publisher}}
	forbidden := func(message string) session.Decision {
		return session.Decision{Reason: session.NotGranted, Refusal: session.Errorf(session.CodeForbidden, "%s", message)}
	}
	for name, c := range map[string]struct {
		caller  *session.Caller
		id      session.Identity
		backEnd func(context.Context) (hook.Answer, error)
		want    session.Decision
		asked   int
	}{
		"another channel":              {&session.Caller{Grant: granted}, elsewhere, allows, forbidden("rtc.channel: the credential does not grant this"), 0},
		"no credential any more":       {nil, elsewhere, allows, session.Decision{Allowed: true}, 1},
		"over":                         {all(now), ana, allows, session.Refuse(session.Denied), 1},
		"over, by the back end":        {all(0), ana, until(now), session.Refuse(session.Denied), 1},
		"over, and has a session":      {nil, ana, until(now), session.Decision{Allowed: true, Until: now}, 1},
		"the sooner is the grant's":    {all(now + 100), ana, until(now + 200), session.Decision{Allowed: true, Until: now + 100}, 1},
		"the sooner is the back end's": {all(now + 200), ana, until(now + 100), session.Decision{Allowed: true, Until: now + 100}, 1},
		"the app token, for a user":    {&session.Caller{Grant: granted}, session.Identity{}, allows, forbidden(`Chat's app token requires a credential with the scope "admin"`), 0},
		"the app token, for an admin":  {&session.Caller{Admin: true, Grant: granted}, session.Identity{}, denies, session.Decision{Allowed: true}, 0},
		"the app token, for anybody":   {all(0), session.Identity{}, denies, session.Decision{Allowed: true}, 0},
	} {
		b := &approval{answer: c.backEnd}
		got := newAccess(t, Config{Approval: b}).Authorize(t.Context(), session.Request{Action: session.ActionJoin, Caller: c.caller, Claims: &session.ResumeClaims{Identity: c.id}})
		if c.id.RTC != nil {
			c.want.Role = session.Publisher
		}
		if !reflect.DeepEqual(got, c.want) || len(b.asked) != c.asked {
			t.Errorf("%s: %+v, want %+v; asked %d times", name, got, c.want, len(b.asked))
		}
	}
}

// Repeated denials of one subject are logged at a limited rate, but each denial that ends a session is logged.
func TestDenialsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := newAccess(t, Config{Approval: &approval{answer: denies}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for action, want := range map[string]int{"join": deniedBurst, "renewal": 3 * deniedBurst} {
			// After a minute, the subject may cause deniedBurst log lines again.
			time.Sleep(time.Minute) // bubble
			log.Reset()
			for range 3 * deniedBurst {
				a.Authorize(t.Context(), requests[action])
			}
			if got := strings.Count(log.String(), "the back end denied a request"); got != want {
				t.Errorf("%s: %d lines, want %d", action, got, want)
			}
		}
		if text := log.String(); !strings.Contains(text, `component=authorize`) || !strings.Contains(text, `reason="no credit"`) {
			t.Errorf("logged %s", text)
		}
	})
}
