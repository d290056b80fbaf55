package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	sharing "refresher/internal/cluster"
	"refresher/internal/session"
	"refresher/internal/store"
)

// revocations is a simple implementation of a set of revocations.
type revocations struct {
	mu     sync.Mutex
	all    []store.Selector // guarded by mu
	unread bool             // guarded by mu
}

func (r *revocations) add(s store.Selector) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
}

func (r *revocations) liftAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = nil
}

func (r *revocations) Loaded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.unread
}

func (r *revocations) Revoked(k *session.ResumeClaims) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.all, func(s store.Selector) bool { return s.Matches(k) })
}

// ended collects the sessions that Revoke has ended.
type ended struct {
	mu           sync.Mutex
	sessions     int
	accessEndsAt session.UnixSec
}

// revoke ends the sessions that a revocation matches, and counts them.
func revoke(s *Scheduler, which store.Selector) *ended {
	e := &ended{}
	s.Revoke(func(k *session.ResumeClaims) string {
		if which.Matches(k) {
			return "R"
		}
		return ""
	}, func(_ string, accessEndsAt session.UnixSec) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.sessions++
		e.accessEndsAt = max(e.accessEndsAt, accessEndsAt)
	})
	return e
}

func (e *ended) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions
}

// joinAs opens a session in a channel, for a uid and a subject.
func joinAs(t *testing.T, s *Scheduler, channel string, uid uint32, subject string) *fakeClient {
	t.Helper()
	p := &fakeClient{t: t, scheduler: s}
	caller := anybody
	caller.Subject = subject
	a, err := s.Join(context.Background(), session.Join{
		Identity: session.Identity{RTC: &session.RTC{Channel: channel, UID: uid}}, TTL: 10 * time.Minute, Caller: caller,
	}, p)
	must(t, err)
	p.hold(a)
	return p
}

func startRevoking(t *testing.T, change func(*settings)) (*Scheduler, *revocations, settings) {
	t.Helper()
	r := &revocations{}
	c := testConfig(t)
	c.Revocations = r
	if change != nil {
		change(&c)
	}
	return start(t, c), r, c
}

// countedStore counts the requests to the store about a session.
type countedStore struct {
	sharing.Store
	times atomic.Int32
}

func (g *countedStore) Acquire(ctx context.Context, wish store.AcquireRequest) (store.Acquired, error) {
	g.times.Add(1)
	return g.Store.Acquire(ctx, wish)
}

// A bad key is refused without a request to the store or to your back end, if this node knows
// that the key is bad.
func TestOpenRefusesWhatTheNodeKnowsIsNoGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &countedStore{}
		s, revoked, c := startRevoking(t, func(c *settings) {
			c.share()
			asked.Store = c.Store
			c.Store = asked
			c.Policy.ApprovalAhead, c.Policy.ApprovalGrace = time.Second, time.Hour
			c.Approve = func(_ context.Context, action session.Action, _ session.ResumeClaims) (Answer, error) {
				if action != session.ActionJoin {
					asked.times.Add(1)
				}
				return Answer{Agreed: true}, nil
			}
		})
		seal := func(change func(*session.ResumeClaims)) session.Resume {
			k := session.ResumeClaims{Session: "S", App: "app", Epoch: 1, Terms: session.Terms{TTL: time.Hour, Until: session.SecOf(time.Now()) + 3600}}
			change(&k)
			sealed, err := c.Sealer.Seal(k)
			must(t, err)
			return session.Resume{Session: k.Session, Key: sealed, ExpiresAt: session.SecOf(time.Now()) + 60}
		}
		good := seal(func(*session.ResumeClaims) {})
		altered, foreign := good, good
		altered.Key = altered.Key[:40] + map[bool]string{true: "B", false: "A"}[altered.Key[40] == 'A'] + altered.Key[41:]
		foreign.Session = "T"
		left, newer := joinAs(t, s, "c", 1, ""), joinAs(t, s, "c", 2, "")
		old := newer.resumeRequest()
		must(t, newer.again().resume(newer))
		again := newer.comesBack()
		again.ack(again.got().joined.Seq)
		revoked.add(store.Selector{App: "app", Subject: "eve"})
		wait(time.Second)
		left.current().Leave() // the end is not saved yet, so this node refuses the key
		asked.times.Store(0)
		for name, test := range map[string]struct {
			shown session.Resume
			want  session.EndReason // empty if the error must be session.ErrUnknown
		}{
			"made up":                 {session.Resume{Session: "S", Key: "x", ExpiresAt: 1}, ""},
			"altered":                 {altered, ""},
			"of another session":      {foreign, ""},
			"of another project":      {seal(func(k *session.ResumeClaims) { k.App = "other" }), ""},
			"of one that was revoked": {seal(func(k *session.ResumeClaims) { k.Subject = "eve" }), session.EndRevoked},
			"of one that ended":       {left.resumeRequest(), session.EndLeft},
			"older than one in use":   {old, session.EndSuperseded},
			"past the session's end":  {seal(func(k *session.ResumeClaims) { k.Terms.Until = session.SecOf(time.Now()) }), session.EndExpired},
			"with a seq out of range": {session.Resume{Session: good.Session, Key: good.Key, Seq: session.MaxSeq + 1}, "bad"},
			"good":                    {good, "good"},
		} {
			shown := test.shown
			err := s.Open(&shown)
			ended, _ := errors.AsType[*session.EndedError](err)
			switch {
			case test.want == "good":
				check(t, err == nil && shown.Claims != nil && shown.Claims.Session == "S", "%s: %v", name, err)
				continue
			case test.want == "bad":
				if refused, ok := errors.AsType[*session.Error](err); !ok || refused.Code != session.CodeBadRequest {
					t.Errorf("%s: %v", name, err)
				}
			case test.want == "" && !errors.Is(err, session.ErrUnknown):
				t.Errorf("%s: %v", name, err)
			case test.want != "" && (ended == nil || ended.Reason != test.want):
				t.Errorf("%s: %v", name, err)
			}
			check(t, shown.Claims == nil, "%s: it was opened", name)
			if _, same := s.Resume(context.Background(), test.shown, &fakeClient{t: t, scheduler: s}); same == nil || same.Error() != err.Error() {
				t.Errorf("%s: opened with %v, resumed with %v", name, err, same)
			}
		}
		check(t, asked.times.Load() == 0, "somebody was asked %d times", asked.times.Load())
		check(t, len(s.table.open) == 1, "%d sessions are open, want the one that was resumed", len(s.table.open))
	})
}

func TestRevocationEndsWhatItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, revoked, c := startRevoking(t, nil)
		ana, bob, eve := joinAs(t, s, "a", 1, "ana"), joinAs(t, s, "a", 2, "bob"), joinAs(t, s, "b", 1, "eve")
		away := joinAs(t, s, "a", 3, "away")
		away.attachment.Detach()
		wait(time.Second)

		one := store.Selector{App: "app", Channel: "a", User: "1"}
		revoked.add(one)
		got := revoke(s, one)
		if got.sessions != 1 || got.accessEndsAt != ana.got().joined.Tokens.ExpiresAt {
			t.Errorf("ended %d, access until %d", got.sessions, got.accessEndsAt)
		}
		if e := ana.got().ended; e == nil || e.Reason != session.EndRevoked || e.AccessEndsAt != got.accessEndsAt {
			t.Errorf("ended %+v", e)
		}
		check(t, bob.got().ended == nil && eve.got().ended == nil, "others were ended too")
		all := store.Selector{App: "app", Channel: "a"}
		revoked.add(all)
		if n := revoke(s, all).sessions; n != 2 || bob.got().ended == nil || eve.got().ended != nil {
			t.Errorf("ended %d", n)
		}
		if n := revoke(s, store.Selector{App: "another", Channel: "b"}).sessions; n != 0 || eve.got().ended != nil {
			t.Errorf("another project's revocation ended %d sessions", n)
		}

		// No revoked client can resume, neither on this node nor on one that knows only the key.
		c.Registerer, c.Node, c.Store = prometheus.NewRegistry(), "other", store.NewMemory(time.Now)
		for _, node := range []*Scheduler{s, start(t, c)} {
			for _, p := range []*fakeClient{ana, bob, away} {
				for range 5 {
					_, err := node.Resume(context.Background(), p.resumeRequest(), p.again())
					wantEnded(t, err, session.EndRevoked)
					_, err = node.RenewByKey(context.Background(), p.resumeRequest())
					wantEnded(t, err, session.EndRevoked)
				}
			}
			_, err := node.Join(context.Background(), session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "a", UID: 9}}, Caller: anybody}, &fakeClient{t: t})
			check(t, code(err) == session.CodeForbidden, "joined again: %v", err)
		}
		revoked.liftAll()
		joinAs(t, s, "a", 1, "ana")
	})
}

func wantEnded(t *testing.T, err error, reason session.EndReason) {
	t.Helper()
	if ended, ok := errors.AsType[*session.EndedError](err); !ok || ended.Reason != reason {
		t.Errorf("came back: %v", err)
	}
}

// A revoked session of a dead node ends when another node adopts it. This holds even if that node
// has not loaded the store's revocations and knows only those that were added on it.
func TestRevokedSessionOfADeadNode(t *testing.T) {
	for _, unread := range []bool{false, true} {
		inCluster(t, func(t *testing.T, c *cluster) {
			m := c.start("a")
			p := joinAs(t, m.Scheduler, "a", 1, "ana")
			wait(time.Second)
			m.kill()
			revoked := &revocations{all: []store.Selector{{App: "app", Subject: "ana"}}, unread: unread}
			c.config.Revocations = revoked
			heir := c.start("b")
			wait(time.Hour)
			open, tombstones := c.store.Len()
			check(t, open == 0 && tombstones == 1 && heir.open() == 0, "unread %t: %d open, %d tombstones", unread, open, tombstones)
			if !unread {
				revoked.liftAll()
				wantEnded(t, p.on(heir).resume(p), session.EndRevoked)
			}
		})
	}
}

func TestNodeThatDoesNotKnowWhatIsRevokedTakesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, revoked, _ := startRevoking(t, nil)
		p := joinAs(t, s, "a", 1, "ana")
		revoked.mu.Lock()
		revoked.unread = true
		revoked.mu.Unlock()
		_, err := s.Resume(context.Background(), p.resumeRequest(), p.again())
		check(t, code(err) == session.CodeUnavailable, "resumed: %v", err)
		wantCode(t, tryJoin(s), session.CodeUnavailable)
		if _, err = s.RenewByKey(context.Background(), p.resumeRequest()); code(err) != session.CodeUnavailable {
			t.Errorf("renewed: %v", err)
		}
	})
}

// Revoke does not wait for a session that is locked while a push is written. The session ends
// later, and is still counted.
func TestRevocationOfABusySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, revoked, _ := startRevoking(t, nil)
		p := joinAs(t, s, "a", 1, "ana")
		p.take = func() error {
			pass(4 * time.Second)
			return nil
		}
		go p.attachment.Renew()
		wait(time.Second)
		ana := store.Selector{App: "app", Subject: "ana"}
		revoked.add(ana)
		began := time.Now()
		got := revoke(s, ana)
		took := time.Since(began)
		check(t, took <= time.Second && got.count() == 0, "took %s: %d ended", took, got.count())
		wait(5 * time.Second)
		check(t, p.got().ended != nil && got.count() == 1, "%d ended", got.count())
	})
}
