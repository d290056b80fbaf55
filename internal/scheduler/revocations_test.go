package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// revocations holds the revocations of a test. If unread is true, the node has not loaded them yet.
type revocations struct {
	mu     sync.Mutex
	all    []store.Selector // guarded by mu
	unread bool             // guarded by mu
}

func (r *revocations) set(unread bool, all ...store.Selector) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all, r.unread = all, unread
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

// revoke ends the sessions that a revocation matches. The channel receives the end of each session's
// access.
func revoke(s *Scheduler, which store.Selector) (ended chan session.UnixSec) {
	ended = make(chan session.UnixSec, 10)
	s.Revoke(func(k *session.ResumeClaims) string {
		if which.Matches(k) {
			return "R"
		}
		return ""
	}, func(_ string, accessEndsAt session.UnixSec) { ended <- accessEndsAt })
	return ended
}

// withRevocations runs a test in simulated time, with a Scheduler that works alone.
func withRevocations(t *testing.T, test func(t *testing.T, s *Scheduler, r *revocations)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Revocations = &revocations{}
		test(t, start(t, c), c.Revocations)
	})
}

// A bad key is refused without a request to the store or to your back end, if this node knows that
// the key is bad.
func TestOpenRefusesWhatTheNodeKnowsIsNoGood(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		b := c.config.asks(time.Hour)
		c.config.Revocations = &revocations{all: []store.Selector{{App: "app", Subject: "eve"}}}
		a := c.start("a")
		now := session.SecOf(time.Now())
		seal := func(change func(*session.ResumeClaims)) session.Resume {
			k := session.ResumeClaims{Session: "S", App: "app", Epoch: 1, Terms: session.Terms{TTL: time.Hour, Until: now + 3600}}
			change(&k)
			sealed, err := c.config.Sealer.Seal(k)
			must(t, err)
			return session.Resume{Session: k.Session, Key: sealed, ExpiresAt: now + 60}
		}
		good := seal(func(*session.ResumeClaims) {})
		foreign, outOfRange := good, good
		foreign.Session, outOfRange.Seq = "T", session.MaxSeq+1
		left, newer := joined(t, a.Scheduler, time.Hour), joined(t, a.Scheduler, time.Hour)
		old := newer.resumeRequest()
		must(t, newer.again().resume(newer))
		again := newer.comesBack()
		again.ack(again.newest().Seq)
		wait(time.Second)
		left.current().Leave() // the end is not saved yet, but node a remembers it, so it refuses the key
		asked, _ := b.questions()
		a.link.fail(func(r request) error {
			check(t, r.name != "acquire", "a request to the store")
			return nil
		})
		for name, test := range map[string]struct {
			shown session.Resume
			want  session.EndReason // empty if the error is not an EndedError
			code  session.Code
		}{
			"made up":                {shown: session.Resume{Session: "S", Key: "x", ExpiresAt: 1}, code: session.CodeUnknownSession},
			"of another session":     {shown: foreign, code: session.CodeUnknownSession},
			"of another project":     {shown: seal(func(k *session.ResumeClaims) { k.App = "other" }), code: session.CodeUnknownSession},
			"seq out of range":       {shown: outOfRange, code: session.CodeBadRequest},
			"revoked":                {shown: seal(func(k *session.ResumeClaims) { k.Subject = "eve" }), want: session.EndRevoked},
			"ended":                  {shown: left.resumeRequest(), want: session.EndLeft},
			"older than one in use":  {shown: old, want: session.EndSuperseded},
			"past the session's end": {shown: seal(func(k *session.ResumeClaims) { k.Terms.Until = now }), want: session.EndExpired},
		} {
			shown := test.shown
			err := a.Open(&shown)
			ended, _ := errors.AsType[*session.EndedError](err)
			refused, _ := errors.AsType[*session.Error](err)
			if test.want != "" && (ended == nil || ended.Reason != test.want) || test.code != "" && (refused == nil || refused.Code != test.code) {
				t.Errorf("%s: %v", name, err)
			}
			check(t, shown.Claims == nil, "%s: it was opened", name)
			_, same := a.Resume(t.Context(), test.shown, &fakeClient{t: t})
			check(t, same != nil && same.Error() == err.Error(), "%s: opened with %v, resumed with %v", name, err, same)
		}
		must(t, a.Open(&good))
		check(t, good.Claims != nil && good.Claims.Session == "S", "opened as %+v", good.Claims)
		later, _ := b.questions()
		equal(t, "requests to the back end", len(later), len(asked))
		equal(t, "open sessions", a.open(), 1)
	})
}

func TestRevocationEndsWhatItNames(t *testing.T) {
	withRevocations(t, func(t *testing.T, s *Scheduler, revoked *revocations) {
		ana, bob, eve := joinAs(t, s, "a", 1, "ana"), joinAs(t, s, "a", 2, "bob"), joinAs(t, s, "b", 1, "eve")
		gone := joinAs(t, s, "a", 3, "gone")
		gone.current().Detach()
		wait(time.Second)

		ended := revoke(s, store.Selector{App: "app", Channel: "a", User: "1"})
		ana.wantTold(session.EndRevoked)
		expiry := ana.got().expiresAt
		check(t, len(ended) == 1 && <-ended == expiry && ana.got().ended.AccessEndsAt == expiry, "access ends at %d, want %d", ana.got().ended.AccessEndsAt, expiry)
		check(t, bob.got().ended == nil, "another user was ended too")
		equal(t, "sessions that another project's revocation ended", len(revoke(s, store.Selector{App: "another", Channel: "a"})), 0)
		all := store.Selector{App: "app", Channel: "a"}
		equal(t, "further sessions of the channel that were ended", len(revoke(s, all)), 2)
		equal(t, "open sessions", len(s.table.all(nil)), 1)
		bob.wantTold(session.EndRevoked)
		eve.wantServed(0)

		// No revoked client can resume, neither on this node nor on one that knows only the key.
		revoked.set(false, all)
		c := testConfig(t)
		c.Revocations = revoked
		for _, node := range []*Scheduler{s, start(t, c)} {
			for _, p := range []*fakeClient{ana, gone} {
				_, err := node.Resume(t.Context(), p.resumeRequest(), p.again())
				wantEnded(t, err, session.EndRevoked)
				_, err = node.RenewByKey(t.Context(), p.resumeRequest())
				wantEnded(t, err, session.EndRevoked)
			}
			wantCode(t, (&fakeClient{scheduler: node}).open(session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "a", UID: 9}}, Caller: anybody}), session.CodeForbidden)
		}
		revoked.set(false)
		joinAs(t, s, "a", 1, "ana")
	})
}

// A node that adopts a revoked session of a dead node ends the session. It does so even before it has
// loaded the revocations from the store, since it checks the revocations that it already has.
func TestRevokedSessionOfADeadNode(t *testing.T) {
	for _, unread := range []bool{false, true} {
		inCluster(t, func(t *testing.T, c *cluster) {
			m := c.start("a")
			p := joinAs(t, m.Scheduler, "a", 1, "ana")
			wait(time.Second)
			m.kill()
			revoked := &revocations{}
			revoked.set(unread, store.Selector{App: "app", Subject: "ana"})
			c.config.Revocations = revoked
			heir := c.start("b")
			wait(time.Hour)
			c.wantStored(0, 1)
			equal(t, "open sessions", heir.open(), 0)
			revoked.set(false)
			wantEnded(t, p.on(heir).resume(p), session.EndRevoked)
		})
	}
}

func TestNodeThatDoesNotKnowWhatIsRevokedTakesNobody(t *testing.T) {
	withRevocations(t, func(t *testing.T, s *Scheduler, revoked *revocations) {
		p := joined(t, s, time.Hour)
		revoked.set(true)
		wantCode(t, p.again().resume(p), session.CodeUnavailable)
		wantCode(t, tryJoin(t.Context(), s), session.CodeUnavailable)
		_, err := s.RenewByKey(context.Background(), p.resumeRequest())
		wantCode(t, err, session.CodeUnavailable)
	})
}

// Revoke does not wait for a session that is locked while a push is written. The session ends
// later, and is still counted.
func TestRevocationOfABusySession(t *testing.T) {
	withRevocations(t, func(t *testing.T, s *Scheduler, _ *revocations) {
		p := joined(t, s, time.Hour)
		p.take = func() error { pass(4 * time.Second); return nil }
		go p.current().Renew()
		wait(time.Second)
		began := time.Now()
		ended := revoke(s, store.Selector{App: "app", Channel: "c"})
		equal(t, "time that Revoke waits", time.Since(began), revokeTimeout)
		equal(t, "sessions that have ended", len(ended), 0)
		wait(5 * time.Second)
		p.wantTold(session.EndRevoked)
		equal(t, "ended sessions", len(ended), 1)
	})
}
