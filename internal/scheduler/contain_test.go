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

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// fault causes a panic for the user victim while it is armed: in the Minter, in a request for
// approval, in the sending of an event, or in a write to the client.
type fault struct {
	armed atomic.Pointer[string] // names the place where the test causes a panic; nil if none
	at    atomic.Int64           // number of panics so far
}

// victim is the uid of the user for whom a fault panics.
const victim = 13

func (f *fault) in(place string, id *session.Identity) {
	if armed := f.armed.Load(); armed != nil && *armed == place && id.RTC != nil && id.RTC.UID == victim {
		f.at.Add(1)
		var nothing *session.RTC
		nothing.UID++
	}
}

func (f *fault) Mint(app string, id session.Identity, form session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	f.in("mint", &id)
	return plainMinter{}.Mint(app, id, form, cause, issuedAt, expiresAt)
}

func (f *fault) announce(e session.Event, settled func(bool)) {
	f.in("announce", &e.Identity)
	go settled(true)
}

func (f *fault) approve(_ context.Context, _ session.Action, k session.ResumeClaims) (Answer, error) {
	f.in("approve", &k.Identity)
	return Answer{Agreed: true}, nil
}

// failing is a client whose connection panics while the fault is armed for it.
type failing struct {
	*fakeClient
	fault *fault
}

func (c failing) Joined(j session.Joined) error {
	c.fault.in("joined", &session.Identity{RTC: &session.RTC{UID: victim}})
	return c.fakeClient.Joined(j)
}

func (c failing) Push(p session.Push) error {
	c.fault.in("push", &session.Identity{RTC: &session.RTC{UID: victim}})
	return c.fakeClient.Push(p)
}

// faulty is a scheduler with a fault.
type faulty struct {
	*node
	t     *testing.T
	fault fault
	log   bytes.Buffer
}

func startFaulty(t *testing.T) *faulty {
	t.Helper()
	s := &faulty{t: t}
	config := testConfig(t)
	reports := panics.NewReporter(slog.New(slog.NewTextHandler(&s.log, nil)), config.Registerer)
	config.Panics, config.Minter, config.SendEvent, config.Approve = reports, &s.fault, s.fault.announce, s.fault.approve
	config.Policy.ApprovalAhead, config.Policy.ApprovalGrace = 15*time.Second, 10*time.Minute
	config.share()
	s.node = startNode(t, config)
	return s
}

// join opens a session of the user victim.
func (s *faulty) join() (*fakeClient, error) {
	p := &fakeClient{t: s.t, scheduler: s.Scheduler}
	join := session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: victim}}, TTL: time.Hour, Caller: anybody}
	a, err := s.Join(context.Background(), join, failing{p, &s.fault})
	if err == nil {
		p.hold(a)
	}
	return p, err
}

// fails arms the fault at a place while it calls f, and checks that the fault panicked.
func (s *faulty) fails(place string, f func()) {
	s.t.Helper()
	s.fault.armed.Store(&place)
	f()
	synctest.Wait()
	s.fault.armed.Store(nil)
	require(s.t, s.fault.at.Load() != 0, "nothing has panicked")
}

// A panic in the handling of one session removes only that session from the node. Its
// client resumes with its key once the fault is gone.
func TestPanicEndsOneSessionOnly(t *testing.T) {
	renewOverHTTP := func(s *faulty, p *fakeClient) error {
		_, err := s.RenewByKey(context.Background(), p.resumeRequest())
		return err
	}
	for _, c := range []struct {
		name, place string
		what        func(s *faulty, p *fakeClient) error
	}{
		{"a renewal that is due", "mint", func(*faulty, *fakeClient) error { pass(2 * time.Hour); return nil }},
		{"a push that is due", "push", func(*faulty, *fakeClient) error { pass(2 * time.Hour); return nil }},
		{"a renewal that the client asks for", "mint", func(_ *faulty, p *fakeClient) error { p.current().Renew(); return nil }},
		{"its push", "push", func(_ *faulty, p *fakeClient) error { p.current().Renew(); return nil }},
		{"a resume", "mint", func(_ *faulty, p *fakeClient) error { return p.again().resume(p) }},
		{"a renewal over HTTP", "mint", renewOverHTTP},
		{"a renewal that an operator asks for", "mint", func(s *faulty, p *fakeClient) error {
			_, err := s.cluster.Wish(p.t.Context(), "app", store.Wish{Kind: store.WishRenew, Session: p.resumeRequest().Session})
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
				check(t, strings.Contains(text, "level=ERROR") && strings.Contains(text, "session="+bad.resumeRequest().Session), "logged %s", text)
				check(t, bad.got().lost, "the connection stays open")
				again := &fakeClient{t: t, scheduler: s.Scheduler}
				if err := again.resume(bad); err != nil {
					t.Fatalf("resume: %v", err)
				}
				before := len(bystander.got().pushes)
				pass(3 * time.Hour)
				if after := len(bystander.got().pushes); after < before+3 || bystander.got().lost {
					t.Errorf("another session: %d renewals, then %d", before, after)
				}
				check(t, len(again.got().pushes) >= 3, "back again: %d renewals", len(again.got().pushes))
				whole(t, s.Scheduler)
				check(t, len(s.table.open) == 2, "%d sessions are open", len(s.table.open))
			})
		})
	}
}

// A panic during a request for approval counts as no answer: the session continues within
// its grace period.
func TestPanicInARequestForApprovalIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		p, err := s.join()
		must(t, err)
		pass(52 * time.Minute)
		// the approval is requested within these four minutes, whatever the jitter
		s.fails("approve", func() { pass(4 * time.Minute) })
		pass(3 * time.Hour)
		if got := p.got(); len(got.pushes) < 3 || got.lost || got.ended != nil {
			t.Errorf("%d renewals, lost: %t, ended: %v", len(got.pushes), got.lost, got.ended)
		}
	})
}

// The session ends even if sending the end to the client panics.
func TestPanicInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		p, err := s.join()
		must(t, err)
		pass(time.Second)
		s.fails("announce", p.current().Leave)
		check(t, len(s.table.open)+len(s.table.ended) <= 0, "%d open, %d ended", len(s.table.open), len(s.table.ended))
	})
}

// A join that panics leaves no session on the node.
func TestPanicInJoin(t *testing.T) {
	for _, place := range []string{"mint", "approve", "joined", "announce"} {
		t.Run(place, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startFaulty(t)
				s.fails(place, func() {
					if _, err := s.join(); err == nil {
						t.Error("joined")
					}
				})
				if _, err := s.join(); err != nil {
					t.Errorf("a later join: %v", err)
				}
				whole(t, s.Scheduler)
				check(t, len(s.table.open) == 1, "%d sessions are open", len(s.table.open))
			})
		})
	}
}

// If the adoption of one session panics, the other sessions are still adopted.
func TestPanicInAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startFaulty(t)
		s.fails("announce", func() {
			for _, uid := range []uint32{1, victim, 2} {
				s.Adopt(&store.Record{Record: session.Record{
					ResumeClaims: session.ResumeClaims{
						Session: string(rune('A' + uid)), App: "app", Epoch: 1, Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: uid}},
						Terms: session.Terms{TTL: time.Hour, Until: session.SecOf(time.Now().Add(time.Hour))},
					},
					Proven: 1, State: session.Detached, Seq: 1, ExpiresAt: session.SecOf(time.Now().Add(time.Hour)),
				}, Node: "gone", Version: 1})
			}
		})
		check(t, len(s.table.open) == 2, "%d sessions adopted", len(s.table.open))
	})
}

// foreign is a store that returns records of other sessions, which do not match the resume key.
type foreign struct {
	*store.Memory
	spoil func(*store.Record)
}

func (f foreign) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	held, err := f.Memory.Acquire(ctx, g)
	if held.Known {
		f.spoil(&held.Record)
	}
	return held, err
}

// A record that does not match the resume key is ignored.
func TestRecordThatDoesNotMatchTheKeyIsUnknown(t *testing.T) {
	for name, spoil := range map[string]func(*store.Record){
		"no app":       func(r *store.Record) { r.App = "" },
		"another app":  func(r *store.Record) { r.App = "other" },
		"another user": func(r *store.Record) { r.Identity.RTC = &session.RTC{Channel: "c", UID: 2} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := testConfig(t)
				log := &bytes.Buffer{}
				config.Logger = slog.New(slog.NewTextHandler(log, nil))
				shared := foreign{config.share(), spoil}
				config.Store = shared
				first := start(t, config)
				config.Node, config.Registerer = "second", prometheus.NewRegistry()
				second := start(t, config)
				p := joined(t, first, time.Hour)
				pass(time.Second)
				moved := &fakeClient{t: t, scheduler: second}
				must(t, moved.resume(p))
				pass(3 * time.Hour)
				check(t, len(moved.got().pushes) >= 3, "%d renewals", len(moved.got().pushes))
				e := second.table.open[p.resumeRequest().Session]
				check(t, e != nil && e.session.App == "app" && e.session.Identity.RTC.UID == 1, "it is %+v", e)
				n := strings.Count(log.String(), "level=ERROR")
				check(t, n == 1, "logged %d errors: %s", n, log)
			})
		})
	}
}
