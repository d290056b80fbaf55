package scheduler

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// victim is the user for whom a faulty node panics.
var victim = session.Identity{RTC: &session.RTC{Channel: "c", UID: 13}}

// faulty is a node that can panic while it handles a session of the user victim.
type faulty struct {
	*node
	t *testing.T
	// place is where the node panics: "mint", "approve", "announce", "joined" or "push". It is nil
	// if the node does not panic.
	place atomic.Pointer[string]
	count atomic.Int64
	log   bytes.Buffer
}

func startFaulty(t *testing.T) *faulty {
	t.Helper()
	s := &faulty{t: t}
	config := testConfig(t)
	config.Panics = panics.NewReporter(slog.New(slog.NewTextHandler(&s.log, nil)), config.Registerer)
	config.Minter = s
	config.SendEvent = func(e session.Event, settled func(bool)) {
		s.panicAt("announce", &e.Identity)
		go settled(true)
	}
	config.Approve = func(_ context.Context, _ session.Action, k session.ResumeClaims) (Answer, error) {
		s.panicAt("approve", &k.Identity)
		return Answer{Agreed: true}, nil
	}
	config.Policy.ApprovalAhead, config.Policy.ApprovalGrace = 15*time.Second, 10*time.Minute
	config.share()
	s.node = startNode(t, config)
	return s
}

func (s *faulty) panicAt(place string, id *session.Identity) {
	if armed := s.place.Load(); armed != nil && *armed == place && id.RTC.UID == victim.RTC.UID {
		s.count.Add(1)
		panic("a fault at " + place)
	}
}

func (s *faulty) Mint(app string, id session.Identity, form session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	s.panicAt("mint", &id)
	return plainMinter{}.Mint(app, id, form, cause, issuedAt, expiresAt)
}

// faultyClient is the user victim's client. Its methods Joined and Push panic if faulty.place names
// them.
type faultyClient struct {
	*fakeClient
	s *faulty
}

func (c faultyClient) Joined(j session.Joined) error {
	c.s.panicAt("joined", &victim)
	return c.fakeClient.Joined(j)
}

func (c faultyClient) Push(p session.Push) error {
	c.s.panicAt("push", &victim)
	return c.fakeClient.Push(p)
}

// join opens a session of the user victim.
func (s *faulty) join() (*fakeClient, error) {
	p := &fakeClient{t: s.t, scheduler: s.Scheduler}
	a, err := s.Join(context.Background(), session.Join{Identity: victim, TTL: time.Hour, Caller: anybody}, faultyClient{p, s})
	if err == nil {
		p.hold(a)
	}
	return p, err
}

// fails calls f. Until f returns, the node panics at the given place.
func (s *faulty) fails(place string, f func()) {
	s.t.Helper()
	s.place.Store(&place)
	f()
	synctest.Wait()
	s.place.Store(nil)
	require(s.t, s.count.Load() != 0, "nothing has panicked")
}

// A panic in the handling of one session removes only that session from the node. The session's
// client resumes with the resume key once the fault is gone.
func TestPanicEndsOneSessionOnly(t *testing.T) {
	due := func(*faulty, *fakeClient) error { pass(2 * time.Hour); return nil }
	renew := func(_ *faulty, p *fakeClient) error { p.current().Renew(); return nil }
	for _, c := range []struct {
		name, place string
		what        func(s *faulty, p *fakeClient) error
	}{
		{"scheduled renewal", "mint", due},
		{"scheduled push", "push", due},
		{"requested renewal", "mint", renew},
		{"requested push", "push", renew},
		{"resume", "mint", func(_ *faulty, p *fakeClient) error { return p.again().resume(p) }},
		{"renewal over HTTP", "mint", func(s *faulty, p *fakeClient) error {
			_, err := s.RenewByKey(context.Background(), p.resumeRequest())
			return err
		}},
		{"operator's change", "mint", func(s *faulty, p *fakeClient) error {
			_, err := s.cluster.Wish(p.t.Context(), "app", store.Wish{Kind: store.WishRenew, Session: p.id()})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startFaulty(t)
				bystander := joined(t, s.Scheduler, time.Hour)
				bad, err := s.join()
				must(t, err)
				pass(time.Second)
				s.fails(c.place, func() { err = c.what(s, bad) })
				check(t, err == nil || errors.Is(err, panics.ErrPanicked), "error %v", err)
				text := s.log.String()
				check(t, strings.Contains(text, "level=ERROR") && strings.Contains(text, "session="+bad.id()), "logged %s", text)
				check(t, bad.got().lost, "the connection stays open")
				again := &fakeClient{t: t, scheduler: s.Scheduler}
				must(t, again.resume(bad))
				pass(3 * time.Hour)
				bystander.wantServed(3)
				again.wantServed(3)
				whole(t, s.Scheduler)
				equal(t, "open sessions", len(s.table.open), 2)
			})
		})
	}
}

// A panic during a request for approval counts as no answer: the session continues within its grace
// period.
func TestPanicInARequestForApprovalIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		p, err := s.join()
		must(t, err)
		pass(52 * time.Minute)
		// the approval is requested within these four minutes, whatever the jitter
		s.fails("approve", func() { pass(4 * time.Minute) })
		pass(3 * time.Hour)
		p.wantServed(3)
	})
}

// The session ends even if sending the event of its end panics.
func TestPanicInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		p, err := s.join()
		must(t, err)
		pass(time.Second)
		s.fails("announce", p.current().Leave)
		equal(t, "sessions in the table", len(s.table.open)+len(s.table.ended), 0)
	})
}

// A join that panics leaves no session on the node.
func TestPanicInJoin(t *testing.T) {
	for _, place := range []string{"mint", "approve", "joined", "announce"} {
		synctest.Test(t, func(t *testing.T) {
			s := startFaulty(t)
			s.fails(place, func() {
				_, err := s.join()
				check(t, err != nil, "%s: joined", place)
			})
			_, err := s.join()
			check(t, err == nil, "%s: a later join: %v", place, err)
			whole(t, s.Scheduler)
			equal(t, "open sessions after a panic at "+place, len(s.table.open), 1)
		})
	}
}

// faultyLog is the handler of a logger that panics at the line "session ended" while it is armed.
type faultyLog struct {
	slog.Handler
	armed *atomic.Bool
}

func (faultyLog) Enabled(context.Context, slog.Level) bool { return true }

func (l faultyLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l faultyLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "session ended" && l.armed.Load() {
		panic("a fault in the log")
	}
	return nil
}

// A session whose removal panics, when the node has more sessions than its limit, is neither in the
// table nor in the metrics any more. It may be the session whose detachment exceeds the limit.
func TestPanicInRemoval(t *testing.T) {
	for _, own := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := testConfig(t)
			c.MaxSessions = 1
			log := faultyLog{slog.DiscardHandler, new(atomic.Bool)}
			c.Logger, c.Panics = slog.New(log), panics.NewReporter(slog.New(slog.DiscardHandler), c.Registerer)
			s := start(t, c)
			p := joinedDetached(t, s, time.Hour)
			log.armed.Store(!own)
			joined(t, s, time.Hour)
			if own {
				p = p.comesBack()
				log.armed.Store(true)
				p.current().Detach()
			}
			log.armed.Store(false)
			equal(t, "open sessions", len(s.table.all(nil)), 1)
			equal(t, "attached sessions in the metrics", testutil.ToFloat64(s.metrics.sessions[session.Attached]), 1)
			equal(t, "detached sessions in the metrics", testutil.ToFloat64(s.metrics.sessions[session.Detached]), 0)
			must(t, p.again().resume(p))
		})
	}
}

// If the adoption of one session panics, the other sessions are still adopted.
func TestPanicInAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		inAnHour := session.SecOf(time.Now().Add(time.Hour))
		s.fails("announce", func() {
			for id, user := range map[string]session.Identity{"A": someone, "B": victim, "C": someone} {
				s.Adopt(&store.Record{Record: session.Record{
					ResumeClaims: session.ResumeClaims{Session: id, App: "app", Epoch: 1, Identity: user, Terms: session.Terms{TTL: time.Hour, Until: inAnHour}},
					Proven:       1, State: session.Detached, Seq: 1, ExpiresAt: inAnHour,
				}, Node: "gone", Version: 1})
			}
		})
		equal(t, "adopted sessions", len(s.table.open), 2)
	})
}
