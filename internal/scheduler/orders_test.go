package scheduler

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

// ordered are the orders that stand, kept as simply as can be.
type ordered struct {
	mu     sync.Mutex
	orders []store.Order // guarded by mu
	unread bool          // guarded by mu
}

func (o *ordered) give(orders ...store.Order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.orders = append(o.orders, orders...)
}

func (o *ordered) lift() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.orders = nil
}

func (o *ordered) Loaded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.unread
}

func (o *ordered) Revoked(k *session.Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.orders {
		if o.orders[i].Kind == store.OrderRevoke && o.orders[i].Matches(k) {
			return true
		}
	}
	return false
}

// joinAs opens a session of a channel and a uid.
func joinAs(t *testing.T, s *Scheduler, channel string, uid uint32, subject string) *phone {
	t.Helper()
	p := &phone{t: t, scheduler: s}
	caller := anybody
	caller.Subject = subject
	a, err := s.Join(session.Join{
		Identity: session.Identity{RTC: &session.RTC{Channel: channel, UID: uid}}, TTL: 10 * time.Minute, Caller: caller,
	}, p)
	if err != nil {
		t.Fatal(err)
	}
	p.hold(a)
	return p
}

func startOrdered(t *testing.T, change func(*Config)) (*Scheduler, *ordered, Config) {
	t.Helper()
	o := &ordered{}
	c := testConfig(t)
	c.Orders = o
	if change != nil {
		change(&c)
	}
	return start(t, c), o, c
}

// gripped counts how often the store is asked for a session.
type gripped struct {
	Store
	times atomic.Int32
}

func (g *gripped) Acquire(ctx context.Context, wish store.AcquireRequest) (store.Acquired, error) {
	g.times.Add(1)
	return g.Store.Acquire(ctx, wish)
}

// A key that is no good is refused before anybody is asked.
func TestOpenRefusesWhatTheNodeKnowsIsNoGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &gripped{}
		s, orders, c := startOrdered(t, func(c *Config) {
			asked.Store = c.Store
			c.Store = asked
			c.Policy.AskAhead, c.Policy.AskGrace = time.Second, time.Hour
			c.Consent = func(_ context.Context, action session.Action, _ session.Key) (Answer, error) {
				if action != session.ActionJoin {
					asked.times.Add(1)
				}
				return Answer{Agreed: true}, nil
			}
		})
		seal := func(change func(*session.Key)) session.Resume {
			k := session.Key{Session: "S", App: "app", Epoch: 1, Terms: session.Terms{TTL: time.Hour, Until: session.SecOf(time.Now()) + 3600}}
			change(&k)
			sealed, err := c.Sealer.Seal(k)
			if err != nil {
				t.Fatal(err)
			}
			return session.Resume{Session: k.Session, Key: sealed, ExpiresAt: session.SecOf(time.Now()) + 60}
		}
		good := seal(func(*session.Key) {})
		altered, foreign := good, good
		altered.Key = altered.Key[:40] + map[bool]string{true: "B", false: "A"}[altered.Key[40] == 'A'] + altered.Key[41:]
		foreign.Session = "T"
		left, newer := joinAs(t, s, "c", 1, ""), joinAs(t, s, "c", 2, "")
		old := newer.ticket()
		if err := newer.again().resume(newer); err != nil {
			t.Fatal(err)
		}
		again := newer.again()
		if err := again.resume(newer); err != nil {
			t.Fatal(err)
		}
		if err := again.hands().Ack(again.got().joined.Seq); err != nil {
			t.Fatal(err)
		}
		orders.give(store.Order{App: "app", Kind: store.OrderRevoke, Subject: "eve"})
		wait(time.Second)
		left.hands().Leave() // the store answers for it in a moment
		asked.times.Store(0)
		for name, test := range map[string]struct {
			shown session.Resume
			want  session.EndReason // empty: the key is unknown
		}{
			"made up":                 {session.Resume{Session: "S", Key: "x", ExpiresAt: 1}, ""},
			"altered":                 {altered, ""},
			"of another session":      {foreign, ""},
			"of another project":      {seal(func(k *session.Key) { k.App = "other" }), ""},
			"of one that was revoked": {seal(func(k *session.Key) { k.Subject = "eve" }), session.EndRevoked},
			"of one that ended":       {left.ticket(), session.EndLeft},
			"older than one in use":   {old, session.EndSuperseded},
			"past the session's end":  {seal(func(k *session.Key) { k.Terms.Until = session.SecOf(time.Now()) }), session.EndExpired},
			"with a seq out of range": {session.Resume{Session: good.Session, Key: good.Key, Seq: session.MaxSeq + 1}, "bad"},
			"good":                    {good, "good"},
		} {
			shown := test.shown
			err := s.Open(&shown)
			ended, _ := errors.AsType[*session.EndedError](err)
			switch {
			case test.want == "good":
				if err != nil || shown.Claims == nil || shown.Claims.Session != "S" {
					t.Errorf("%s: %v", name, err)
				}
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
			if shown.Claims != nil {
				t.Errorf("%s: it was opened", name)
			}
			if _, same := s.Resume(test.shown, &phone{t: t, scheduler: s}); same == nil || same.Error() != err.Error() {
				t.Errorf("%s: opened with %v, resumed with %v", name, err, same)
			}
		}
		if n := asked.times.Load(); n != 0 {
			t.Errorf("somebody was asked %d times", n)
		}
	})
}

func TestRevocationEndsWhatItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, orders, c := startOrdered(t, nil)
		ana, bob, eve := joinAs(t, s, "a", 1, "ana"), joinAs(t, s, "a", 2, "bob"), joinAs(t, s, "b", 1, "eve")
		away := joinAs(t, s, "a", 3, "away")
		away.attachment.Detach()
		wait(time.Second)

		revoke := store.Order{App: "app", Kind: store.OrderRevoke, Channel: "a", User: "1"}
		orders.give(revoke)
		report := s.Apply(revoke)
		if report.Sessions != 1 || report.Done != 1 || report.AccessEndsAt != ana.got().joined.Tokens.ExpiresAt {
			t.Errorf("report %+v", report)
		}
		if e := ana.got().ended; e == nil || e.Reason != session.EndRevoked || e.AccessEndsAt != report.AccessEndsAt {
			t.Errorf("ended %+v", e)
		}
		if bob.got().ended != nil || eve.got().ended != nil {
			t.Error("others were ended too")
		}
		all := store.Order{App: "app", Kind: store.OrderRevoke, Channel: "a"}
		orders.give(all)
		if report := s.Apply(all); report.Done != 2 || bob.got().ended == nil || eve.got().ended != nil {
			t.Errorf("report %+v", report)
		}
		if report := s.Apply(store.Order{App: "another", Kind: store.OrderRevoke, Channel: "b"}); report.Sessions != 0 || eve.got().ended != nil {
			t.Errorf("another project's order ended a session: %+v", report)
		}

		// Nobody comes back, here or on a node that knows no more than the key.
		c.Registerer, c.Node, c.Store = prometheus.NewRegistry(), "other", store.NewMemory(time.Now)
		for _, node := range []*Scheduler{s, start(t, c)} {
			for _, p := range []*phone{ana, bob, away} {
				for range 5 {
					_, err := node.Resume(p.ticket(), p.again())
					wantEnded(t, err, session.EndRevoked)
					_, err = node.RenewByKey(p.ticket())
					wantEnded(t, err, session.EndRevoked)
				}
			}
			_, err := node.Join(session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "a", UID: 9}}, Caller: anybody}, &phone{t: t})
			if code(err) != session.CodeForbidden {
				t.Errorf("joined again: %v", err)
			}
		}
		orders.lift()
		joinAs(t, s, "a", 1, "ana")
	})
}

func wantEnded(t *testing.T, err error, reason session.EndReason) {
	t.Helper()
	if ended, ok := errors.AsType[*session.EndedError](err); !ok || ended.Reason != reason {
		t.Errorf("came back: %v", err)
	}
}

// A session that changes hands after the order was given is ended by whoever gets
// it.
func TestRevokedSessionOfADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.start("a")
		p := joinAs(t, m.Scheduler, "a", 1, "ana")
		wait(time.Second)
		m.kill()
		orders := &ordered{orders: []store.Order{{App: "app", Kind: store.OrderRevoke, Subject: "ana"}}}
		c.config.Orders = orders
		heir := c.start("b").Scheduler
		wait(15 * time.Minute)
		if open, graves := c.store.Len(); open != 0 || graves != 1 {
			t.Errorf("%d open, %d graves", open, graves)
		}
		orders.lift()
		_, err := heir.Resume(p.ticket(), p.again())
		wantEnded(t, err, session.EndRevoked)
	})
}

func TestNodeThatDoesNotKnowTheOrdersTakesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, orders, _ := startOrdered(t, nil)
		p := joinAs(t, s, "a", 1, "ana")
		orders.mu.Lock()
		orders.unread = true
		orders.mu.Unlock()
		_, err := s.Resume(p.ticket(), p.again())
		if code(err) != session.CodeUnavailable {
			t.Errorf("resumed: %v", err)
		}
		_, err = s.Join(session.Join{Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Caller: anybody}, p.again())
		if code(err) != session.CodeUnavailable {
			t.Errorf("joined: %v", err)
		}
		if _, err = s.RenewByKey(p.ticket()); code(err) != session.CodeUnavailable {
			t.Errorf("renewed: %v", err)
		}
	})
}

// A client that is being written to holds its session; an order does not wait for
// it, and reaches it all the same.
func TestRevocationOfABusySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, orders, _ := startOrdered(t, nil)
		p := joinAs(t, s, "a", 1, "ana")
		p.take = func() error {
			pass(4 * time.Second)
			return nil
		}
		go p.attachment.Renew()
		wait(time.Second)
		revoke := store.Order{App: "app", Kind: store.OrderRevoke, Subject: "ana"}
		orders.give(revoke)
		began := time.Now()
		report := s.Apply(revoke)
		if took := time.Since(began); took > time.Second || report.Done != 0 {
			t.Errorf("took %s: %+v", took, report)
		}
		wait(5 * time.Second)
		if p.got().ended == nil {
			t.Error("not ended")
		}
	})
}
