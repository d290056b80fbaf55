package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// roleMinter mints tokens that contain the role.
type roleMinter struct{}

func (roleMinter) Mint(_ string, id session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: roleOf(id).String(), ExpiresAt: expiresAt}, nil
}

// want applies a wish (an operator's change to a session) and checks that there is no error.
func (m *member) want(w store.Wish) store.WishResult {
	result, err := m.Wish(context.Background(), "app", w)
	if err != nil {
		panic(err)
	}
	return result
}

func (m *member) setRole(id string, role session.Role) store.WishResult {
	return m.want(store.Wish{Session: id, Kind: store.WishRole, Role: role})
}

// id returns the id of the client's session.
func (p *fakeClient) id() string { return p.got().joined.Session }

// newest returns the newest push that the client received.
func (p *fakeClient) newest() session.Push {
	got := p.got()
	if len(got.pushes) == 0 {
		return got.joined.Push
	}
	return got.pushes[len(got.pushes)-1]
}

// wantPushed checks the number of pushes, and the cause and role of the newest.
func (p *fakeClient) wantPushed(pushes int, cause session.Cause, role session.Role) {
	p.t.Helper()
	if got := p.newest(); len(p.got().pushes) != pushes || got.Cause != cause || got.Tokens.RTC != role.String() {
		p.t.Errorf("%d pushes, the newest %+v; want %d, with cause %s and role %s", len(p.got().pushes), got, pushes, cause, role)
	}
}

// applied checks the result of a wish that changes the role.
func applied(t *testing.T, result store.WishResult, node string, role session.Role, state session.State) {
	t.Helper()
	r := &result.Record
	if !result.Applied || !result.Stored || r.Node != node || roleOf(r.Identity) != role || r.State != state || r.WishVersion != result.Version || r.WishPending {
		t.Errorf("result %+v", result)
	}
}

// A wish (an operator's change of one session) is applied at once on the session's own node, and
// within half a second if it is sent to another node.
func TestWishIsApplied(t *testing.T) {
	for asked, most := range map[string]time.Duration{"a": 0, "b": 500 * time.Millisecond} {
		onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
			m := map[string]*member{"a": a, "b": b}[asked]
			began := time.Now()
			applied(t, m.setRole(p.id(), session.Publisher), "a", session.Publisher, session.Attached)
			check(t, time.Since(began) <= most, "answered after %s", time.Since(began))
			p.wantPushed(1, session.CauseRole, session.Publisher)
			wait(time.Second)
			applied(t, m.want(store.Wish{Session: p.id(), Kind: store.WishRenew}), "a", session.Publisher, session.Attached)
			p.wantPushed(2, session.CauseRenew, session.Publisher)
			wait(time.Second)
			r, _, _ := c.store.Get(t.Context(), p.id())
			check(t, !r.WishPending && roleOf(r.Identity) == session.Publisher && r.HeldSeq == p.newest().Seq, "stored %+v", r)
			end := m.want(store.Wish{Session: p.id(), Kind: store.WishEnd})
			check(t, end.Applied && end.Stored && end.Record.ExpiresAt == p.newest().Tokens.ExpiresAt, "ended %+v", end)
			p.wantTold(session.EndRevoked)
			check(t, p.got().ended.AccessEndsAt == end.Record.ExpiresAt, "the client was told %+v", p.got().ended)
			wait(time.Second)
			c.wantStored(0, 1)
			check(t, a.open() == 0 && c.count(p.id(), store.DeliveredEnd) == 1, "%d sessions, the end was delivered %d times", a.open(), c.count(p.id(), store.DeliveredEnd))
			p.wantPushed(2, session.CauseRenew, session.Publisher)
			wantEnded(t, p.again().resume(p), session.EndRevoked)
			for _, kind := range []string{"role", "renew", "end"} {
				check(t, counterOf(t, m.registry, "refresher_wishes_total", kind, "applied") == 1, "not counted: %s", kind)
			}
		})
	}
}

// The end of a session reports when the client's newest tokens expire, even if these are newer than
// the stored record.
func TestEndSaysWhenTheNewestTokensEnd(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		wait(time.Minute)
		p.answer = silent
		p.current().Renew()
		wait(time.Second)
		end := b.want(store.Wish{Session: p.id(), Kind: store.WishEnd})
		if newest := p.newest().Tokens.ExpiresAt; end.Record.ExpiresAt != newest || newest == p.got().joined.Tokens.ExpiresAt {
			t.Errorf("access ends at %d, the tokens at %d", end.Record.ExpiresAt, newest)
		}
	})
}

// A wish for a session of a dead node is applied by the node that adopts the session.
func TestWishOfADeadNodesSession(t *testing.T) {
	for name, w := range map[string]store.Wish{
		"role": {Kind: store.WishRole, Role: session.Publisher}, "renew": {Kind: store.WishRenew}, "end": {Kind: store.WishEnd},
	} {
		t.Run(name, func(t *testing.T) {
			onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
				a.kill()
				w := w
				w.Session = p.id()
				result := b.want(w)
				check(t, !result.Applied && result.Stored && result.Record.Node == "a", "result %+v", result)
				if w.Kind == store.WishEnd {
					_, err := b.Resume(context.Background(), p.resumeRequest(), p.again())
					wantEnded(t, err, session.EndRevoked)
					wait(20 * time.Second)
					if _, tombstones := c.store.Len(); tombstones != 1 || c.count(p.id(), store.DeliveredEnd) != 1 {
						t.Errorf("%d tombstones, the end was delivered %d times", tombstones, c.count(p.id(), store.DeliveredEnd))
					}
					_, err = b.RenewByKey(context.Background(), p.resumeRequest())
					wantEnded(t, err, session.EndRevoked)
					return
				}
				wait(10 * time.Minute) // the session is overdue
				require(t, b.open() == 1, "not taken over")
				back := p.on(b)
				must(t, back.resume(p))
				check(t, back.newest().Tokens.RTC == w.Role.String(), "back with %+v", back.newest())
				wait(time.Second)
				if r, _, _ := c.store.Get(t.Context(), p.id()); r.WishPending {
					t.Errorf("stored %+v", r)
				}
			})
		})
	}
}

// pause blocks all operations of a node on the store and all notices to the node, until goOn is
// called.
func (l *link) pause() (goOn func()) {
	running := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = running
	return func() { close(running) }
}

// await waits while the node is paused.
func (l *link) await() {
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if running != nil {
		<-running
	}
}

// A paused node applies a wish for its session when it continues.
func TestWishOfAPausedNodesSession(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		ana, bob := joinAs(t, a.Scheduler, "a", 1, "ana"), joinAs(t, a.Scheduler, "a", 2, "bob")
		wait(time.Second)
		goOn := a.link.pause()
		role := b.setRole(ana.id(), session.Publisher)
		end := b.want(store.Wish{Session: bob.id(), Kind: store.WishEnd})
		for _, result := range []store.WishResult{role, end} {
			check(t, !result.Applied && result.Stored && result.Record.Node == "a", "result %+v", result)
		}
		check(t, len(ana.got().pushes) == 0 && bob.got().ended == nil, "it was carried out by a node that stands still")
		goOn()
		wait(time.Second)
		ana.wantPushed(1, session.CauseRole, session.Publisher)
		bob.wantTold(session.EndRevoked)
	})
}

// A wish for a detached session is applied when its client returns, on any node.
func TestWishOfADetachedSession(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		ana, bob := joinAs(t, a.Scheduler, "a", 1, "ana"), joinAs(t, a.Scheduler, "a", 2, "bob")
		ana.current().Detach()
		bob.current().Detach()
		wait(time.Second)
		applied(t, b.setRole(ana.id(), session.Publisher), "a", session.Publisher, session.Detached)
		applied(t, a.setRole(bob.id(), session.Publisher), "a", session.Publisher, session.Detached)
		wait(time.Second)
		for p, m := range map[*fakeClient]*member{ana: b, bob: a} {
			back := p.on(m)
			must(t, back.resume(p))
			check(t, back.newest().Tokens.RTC == "publisher", "back with %+v", back.newest())
			back.current().Detach()
			wait(time.Second)
			end := b.want(store.Wish{Session: p.id(), Kind: store.WishEnd})
			check(t, end.Applied && end.Record.ExpiresAt == back.newest().Tokens.ExpiresAt, "ended %+v", end)
			for _, m := range []*member{a, b} {
				wantEnded(t, back.on(m).resume(back), session.EndRevoked)
			}
		}
	})
}

// A renewal over HTTP applies a wish, even if the client would otherwise get the same tokens again.
func TestRenewalOverHTTPMeetsAWish(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		p.current().Detach()
		wait(time.Second)
		renew := func(m *member) session.Push {
			push, err := m.RenewByKey(context.Background(), p.resumeRequest())
			must(t, err)
			return push
		}
		first := renew(a)
		a.setRole(p.id(), session.Publisher)
		second := renew(a)
		check(t, second.Seq == first.Seq+1 && second.Tokens.RTC == "publisher", "after a wish here: %+v after %+v", second, first)
		wait(time.Second)
		b.setRole(p.id(), session.Subscriber)
		third := renew(a)
		check(t, third.Seq == first.Seq+2 && third.Tokens.RTC == "subscriber", "after a wish elsewhere: %+v", third)
		goOn := a.link.pause() // only the store has the wish, since the node is paused
		b.setRole(p.id(), session.Publisher)
		if push := renew(b); push.Tokens.RTC != "publisher" {
			t.Errorf("on another node: %+v", push)
		}
		goOn()
	})
}

// While the store is down, a node applies wishes to its own sessions and stores them later.
func TestWishWhileTheStoreIsAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		ana, bob := joinAs(t, a.Scheduler, "a", 1, "ana"), joinAs(t, a.Scheduler, "a", 2, "bob")
		wait(time.Second)
		a.link.fail(away)
		b.link.fail(away)
		wait(5 * time.Second)
		before, _, _ := c.store.Get(t.Context(), ana.id())
		for _, w := range []store.Wish{{Kind: store.WishRole, Role: session.Publisher}, {Kind: store.WishRenew}, {Kind: store.WishEnd}} {
			w.Session = ana.id()
			began := time.Now()
			_, err := b.Wish(t.Context(), "app", w)
			refused, _ := errors.AsType[*session.Error](err)
			if refused == nil || refused.Code != session.CodeUnavailable || refused.RetryAfter == 0 || !strings.Contains(refused.Message, "nothing was changed") {
				t.Errorf("elsewhere: %v", err)
			}
			took := time.Since(began)
			check(t, took <= time.Second, "it took %s", took)
		}
		wait(5 * time.Second)
		if after, _, _ := c.store.Get(t.Context(), ana.id()); after.WishVersion != 0 || after.Version != before.Version || len(ana.got().pushes) != 0 || ana.got().ended != nil {
			t.Errorf("it was half done: %+v", after)
		}

		role := a.setRole(ana.id(), session.Publisher)
		end := a.want(store.Wish{Session: bob.id(), Kind: store.WishEnd})
		if role.Stored || !role.Applied || end.Stored || !end.Applied || end.Record.ExpiresAt != bob.newest().Tokens.ExpiresAt {
			t.Errorf("here: %+v, %+v", role, end)
		}
		ana.wantPushed(1, session.CauseRole, session.Publisher)
		bob.wantTold(session.EndRevoked)
		wantEnded(t, bob.again().resume(bob), session.EndRevoked)
		a.link.fail(nil)
		b.link.fail(nil)
		wait(5 * time.Second)
		stored, _, _ := c.store.Get(t.Context(), ana.id())
		check(t, roleOf(stored.Identity) == session.Publisher && stored.WishVersion == role.Version && !stored.WishPending, "stored %+v", stored)
		wantEnded(t, bob.on(b).resume(bob), session.EndRevoked)
		// The next wish has a higher version.
		if next := b.setRole(ana.id(), session.Subscriber); next.Version <= role.Version || !next.Applied {
			t.Errorf("then %+v", next)
		}
		ana.wantPushed(2, session.CauseRole, session.Subscriber)
		equal(t, "wishes counted as not stored", counterOf(t, a.registry, "refresher_wishes_total", "role", "unstored"), 1)
		equal(t, "wishes counted as failed", counterOf(t, b.registry, "refresher_wishes_total", "end", "failed"), 1)
	})
}

// While the store was down, a node applied a wish, and the client moved to another node. The wish
// is then applied on that node, whichever of the two nodes reaches the store first.
func TestUnstoredWishFollowsItsSession(t *testing.T) {
	for _, ownerFirst := range []bool{true, false} {
		for _, kind := range []store.WishKind{store.WishRole, store.WishEnd} {
			onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
				a.link.fail(away)
				b.link.fail(away)
				wait(5 * time.Second)
				a.want(store.Wish{Session: p.id(), Kind: kind, Role: session.Publisher})
				moved := p.move(b) // the node has only the key to restore the session
				first, second := a, b
				if !ownerFirst {
					first, second = b, a
				}
				first.link.fail(nil)
				wait(20 * time.Second)
				second.link.fail(nil)
				wait(20 * time.Second)
				if kind == store.WishRole {
					check(t, moved.newest().Tokens.RTC == "publisher", "owner first %t: has %+v", ownerFirst, moved.newest())
				} else {
					moved.wantTold(session.EndRevoked)
				}
			})
		}
	}
}

// losing is a link that loses the store's answers to wishes.
type losing struct{ *link }

func (l losing) Wish(ctx context.Context, w store.Wish) (store.Record, error) {
	if _, err := l.link.Wish(ctx, w); err != nil {
		return store.Record{}, err
	}
	return store.Record{}, errAway
}

// refusing is a link to a store that refuses writes.
type refusing struct{ *link }

func (refusing) Wish(context.Context, store.Wish) (store.Record, error) {
	return store.Record{}, errors.New("wish: OOM command not allowed when used memory > 'maxmemory'")
}

// If the store refuses writes, a wish is applied only on the node that has the session.
func TestWishThatTheStoreRefuses(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		refuse := func(config *settings, l *link) { config.Records = refusing{l} }
		a, b := c.startWith("a", refuse), c.startWith("b", refuse)
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		wait(time.Second)
		_, err := b.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishEnd})
		if refused, _ := errors.AsType[*session.Error](err); refused == nil || refused.Code != session.CodeUnavailable || !strings.Contains(refused.Message, "nothing was changed") {
			t.Errorf("elsewhere: %v", err)
		}
		if result := a.setRole(p.id(), session.Publisher); !result.Applied || result.Stored {
			t.Errorf("here: %+v", result)
		}
		p.wantPushed(1, session.CauseRole, session.Publisher)
	})
}

// If the store's answer to a wish is lost, the wish may still be applied.
func TestWishWhoseAnswerIsLost(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.startWith("b", func(config *settings, l *link) { config.Records = losing{l} })
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		wait(time.Second)
		_, err := b.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Publisher})
		if refused, _ := errors.AsType[*session.Error](err); refused == nil || !strings.Contains(refused.Message, "not known") {
			t.Errorf("answered %v", err)
		}
		wait(time.Second)
		p.wantPushed(1, session.CauseRole, session.Publisher)
	})
}

// Many wishes cause at most one push per second. The last wish is applied.
func TestManyWishes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		p.answer = func(p *fakeClient, push session.Push) {
			pass(700 * time.Millisecond)
			p.ack(push.Seq)
		}
		wait(time.Second)
		for i := range 100 {
			m := []*member{a, b}[i/4%2]
			go m.setRole(p.id(), []session.Role{session.Publisher, session.Subscriber}[i%2])
			wait(50 * time.Millisecond)
		}
		a.setRole(p.id(), session.Publisher)
		wait(3 * time.Second)
		got := p.got()
		for i := 1; i < len(got.at); i++ {
			gap := got.at[i].Sub(got.at[i-1])
			check(t, gap >= time.Second, "push %d came %s after the one before", i+1, gap)
		}
		if n := len(got.pushes); n < 5 || n > 8 || p.newest().Tokens.RTC != "publisher" {
			t.Errorf("%d pushes, the newest %+v", n, p.newest())
		}
	})
}

// Of two concurrent wishes, the one with the higher version wins, and both results have its
// version.
func TestWishesOfTwoOperators(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		nodes := []*member{c.start("a"), c.start("b"), c.start("c")}
		p := joinAs(t, nodes[0].Scheduler, "a", 1, "ana")
		wait(time.Second)
		for i := range 20 {
			results := make([]store.WishResult, 2)
			roles := [2]session.Role{session.Role(i % 2), session.Role((i + 1) % 2)}
			var both sync.WaitGroup
			for k := range results {
				both.Go(func() { results[k] = nodes[(i+k)%3].setRole(p.id(), roles[k]) })
			}
			both.Wait()
			wait(time.Second)
			r, _, _ := c.store.Get(t.Context(), p.id())
			last := 0
			if results[1].Version > results[0].Version {
				last = 1
			}
			if results[0].Version == results[1].Version || r.WishVersion != results[last].Version || roleOf(r.Identity) != roles[last] {
				t.Errorf("stored %+v of %+v", r, results)
			}
			check(t, p.newest().Tokens.RTC == roles[last].String(), "the client has %+v", p.newest())
			for _, result := range results {
				// A wish that was answered before the other wish came has its own version.
				check(t, result.Record.WishVersion != r.WishVersion || roleOf(result.Record.Identity) == roles[last], "answered %+v", result)
			}
		}
	})
}

func TestWishRefusals(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.config.Serves = func(string) bool { return true }
		a, b := c.start("a"), c.start("b")
		listener := session.Caller{App: "app", Grant: session.Grant{Channels: []string{"*"}, UIDs: []string{"*"}, Roles: []session.Role{session.Subscriber}}}
		open := func(caller session.Caller, id session.Identity) *fakeClient {
			p := &fakeClient{t: t, scheduler: a.Scheduler}
			at, err := a.Join(context.Background(), session.Join{Identity: id, Caller: caller}, p)
			must(t, err)
			p.hold(at)
			return p
		}
		limited := open(listener, session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}})
		texts := open(anybody, session.Identity{RTM: &session.RTM{UserID: "u"}})
		foreign := anybody
		foreign.App = "other"
		others := open(foreign, session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}})
		wait(time.Second)
		publish := store.Wish{Kind: store.WishRole, Role: session.Publisher}
		for _, test := range []struct {
			id   string
			w    store.Wish
			want session.Code
		}{
			{limited.id(), publish, session.CodeForbidden},
			{texts.id(), publish, session.CodeBadRequest},
			{others.id(), publish, session.CodeUnknownSession},
			{others.id(), store.Wish{Kind: store.WishRenew}, session.CodeUnknownSession},
			{others.id(), store.Wish{Kind: store.WishEnd}, session.CodeUnknownSession},
			{"none", publish, session.CodeUnknownSession},
			{"none", store.Wish{Kind: store.WishEnd}, session.CodeUnknownSession},
		} {
			for _, m := range []*member{a, b} {
				began := time.Now()
				test.w.Session = test.id
				_, err := m.Wish(t.Context(), "app", test.w)
				check(t, code(err) == test.want, "%+v: %v, want %s", test.w, err, test.want)
				// An operator cannot distinguish a session of another project from a session that
				// does not exist, not even by the time until the answer.
				if took := time.Since(began); test.want == session.CodeUnknownSession && (!errors.Is(err, session.ErrNotOpen) || took != 250*time.Millisecond) {
					t.Errorf("%+v: %v after %s", test.w, err, took)
				}
			}
		}
		wait(time.Second)
		for _, p := range []*fakeClient{limited, texts, others} {
			if got := p.got(); len(got.pushes) != 0 || got.ended != nil {
				t.Errorf("pushed %+v, ended %+v", got.pushes, got.ended)
			}
		}
	})
}

// A wish for a session that was joined just now succeeds on every node.
func TestWishOfASessionJoinedAMomentAgo(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		for _, m := range []*member{a, b} {
			p := joinAs(t, a.Scheduler, "a", 1, "ana")
			applied(t, m.setRole(p.id(), session.Publisher), "a", session.Publisher, session.Attached)
			wait(time.Second)
			p.wantPushed(1, session.CauseRole, session.Publisher)
			p = joinAs(t, a.Scheduler, "a", 1, "ana")
			if end := m.want(store.Wish{Session: p.id(), Kind: store.WishEnd}); !end.Applied || !end.Stored || p.got().ended == nil {
				t.Errorf("ended %+v", end)
			}
		}
		c.wantStored(2, 2)
	})
}

// A wish for a session that is locked while a push is written does not wait. It is applied after
// the push.
func TestWishOfABusySession(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		wait(time.Second)
		p.take = func() error {
			pass(4 * time.Second)
			return nil
		}
		go p.current().Renew()
		wait(time.Second)
		began := time.Now()
		end := a.want(store.Wish{Session: p.id(), Kind: store.WishEnd})
		took := time.Since(began)
		check(t, took <= time.Second && !end.Applied && end.Stored && end.Record.Node == "a", "took %s: %+v", took, end)
		wait(5 * time.Second)
		check(t, p.got().ended != nil, "not ended")

		// If the store is down too, the node has no record from which to answer.
		p = joinAs(t, a.Scheduler, "a", 1, "ana")
		a.link.fail(away)
		wait(5 * time.Second)
		p.take = func() error {
			pass(4 * time.Second)
			return nil
		}
		go p.current().Renew()
		wait(time.Second)
		if result, err := a.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishEnd}); err == nil || !strings.Contains(err.Error(), "slow to take a message") {
			t.Errorf("%+v, %v", result, err)
		}
		wait(5 * time.Second)
		check(t, p.got().ended != nil, "not ended")
	})
}

// A client leaves before the session's owner learns that an operator has ended the session. The
// session's keys are still refused for as long as after an operator's end.
func TestEndOfASessionThatLeaves(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		goOn := a.link.pause()
		b.want(store.Wish{Session: p.id(), Kind: store.WishEnd})
		p.current().Leave()
		goOn()
		wait(3 * time.Hour)
		for _, m := range []*member{a, b} {
			wantEnded(t, p.on(m).resume(p), session.EndRevoked)
		}
		check(t, c.count(p.id(), store.DeliveredEnd) == 1, "the end was delivered %d times", c.count(p.id(), store.DeliveredEnd))
	})
}

// unnotified is a link that loses the store's notices.
type unnotified struct{ *link }

func (unnotified) Watch(ctx context.Context, _ string, connected func(), _ func(string)) error {
	connected()
	<-ctx.Done()
	return nil
}

// A node that missed the notice of a session's end learns of the end when it sweeps overdue
// sessions.
func TestEndWhoseNoticeIsLost(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.startWith("a", func(config *settings, l *link) { config.Store = unnotified{l} }), c.start("b")
		p := joinAs(t, a.Scheduler, "a", 1, "ana")
		wait(time.Second)
		if end := b.want(store.Wish{Session: p.id(), Kind: store.WishEnd}); end.Applied {
			t.Errorf("%+v", end)
		}
		wait(5 * time.Minute) // if node b sweeps first, it postpones the session by store.Later, to give node a time to renew it
		p.wantTold(session.EndRevoked)
	})
}

// A new role is approved by your back end before tokens with it are minted.
func TestWishIsApproved(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		var mu sync.Mutex
		var asked []string // guarded by mu
		c.config.Policy.ApprovalAhead, c.config.Policy.ApprovalGrace = time.Second, time.Hour
		c.config.Approve = func(_ context.Context, action session.Action, k session.ResumeClaims) (Answer, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, string(action)+" "+roleOf(k.Identity).String())
			return Answer{Agreed: k.Subject != "eve" || roleOf(k.Identity) == session.Subscriber}, nil
		}
		wantAsked := func(want string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(asked, ", "); got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
			asked = nil
		}
		a, b := c.start("a"), c.start("b")
		ana, eve := joinAs(t, a.Scheduler, "a", 1, "ana"), joinAs(t, a.Scheduler, "a", 2, "eve")
		wait(time.Second)
		wantAsked("join subscriber, join subscriber")
		b.setRole(ana.id(), session.Publisher)
		wait(time.Second)
		wantAsked("renew publisher")
		ana.wantPushed(1, session.CauseRole, session.Publisher)

		// At a resume, approval is requested for the role in the record, not for the one in the
		// key.
		ana.current().Detach()
		wait(time.Second)
		back := ana.on(b)
		must(t, back.resume(ana))
		wantAsked("resume publisher")
		goOn := b.link.pause() // only the store has the wish, since the node is paused
		a.setRole(ana.id(), session.Subscriber)
		back.current().Detach()
		back.renewOn(a.Scheduler)
		wantAsked("renew subscriber")
		goOn()

		a.setRole(eve.id(), session.Publisher)
		wait(time.Second)
		wantAsked("renew publisher")
		if e := eve.got().ended; e == nil || e.Reason != session.EndDenied || len(eve.got().pushes) != 0 {
			t.Errorf("ended %+v, pushed %+v", e, eve.got().pushes)
		}
	})
}

// An approval for one role does not permit tokens with another.
func TestApprovalIsOfARole(t *testing.T) {
	for name, after := range map[string]time.Duration{"asked": time.Second, "approved": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *cluster) {
				c.config.Policy.ApprovalAhead, c.config.Policy.ApprovalGrace = 10*time.Second, time.Hour
				questions := make(chan session.Role, 8)
				c.config.Approve = func(_ context.Context, _ session.Action, k session.ResumeClaims) (Answer, error) {
					questions <- roleOf(k.Identity)
					pass(4 * time.Second)
					return Answer{Agreed: roleOf(k.Identity) == session.Subscriber}, nil
				}
				a := c.start("a")
				p := joinAs(t, a.Scheduler, "a", 1, "ana")
				<-questions
				<-questions // receives the request for approval before the first renewal
				wait(after)
				a.setRole(p.id(), session.Publisher)
				wait(20 * time.Second)
				if e := p.got().ended; e == nil || e.Reason != session.EndDenied || len(p.got().pushes) != 0 {
					t.Errorf("ended %+v, pushed %+v", e, p.got().pushes)
				}
				role := <-questions
				check(t, role == session.Publisher && len(questions) == 0, "asked about a %s, and %d more", role, len(questions))
			})
		})
	}
}

// Operators send wishes to nodes that sometimes cannot reach the store, while the client moves
// between the nodes. At the end the store and the client's tokens have the role of the wish with
// the highest version.
func TestWishesConverge(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 25
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			c := newCluster(t)
			nodes := []*member{c.start("a"), c.start("b"), c.start("c")}
			p := joinAs(t, nodes[0].Scheduler, "a", 1, "ana")
			wait(time.Second)
			var last store.WishResult // the wish with the highest version
			role := session.Subscriber
			for range 30 {
				m := nodes[random.IntN(len(nodes))]
				switch random.IntN(6) {
				case 0:
					m.link.fail(away)
				case 1, 2:
					m.link.fail(nil)
				case 3:
					next := p.move(m)
					p = next
				default:
					w := store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Role(random.IntN(2))}
					if result, err := m.Wish(t.Context(), "app", w); err == nil && result.Version > last.Version {
						last, role = result, w.Role
					}
				}
				wait(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			for _, m := range nodes {
				m.link.fail(nil)
			}
			wait(20 * time.Second)
			r, _, _ := c.store.Get(t.Context(), p.id())
			if r.WishVersion != last.Version || roleOf(r.Identity) != role || r.WishPending {
				t.Errorf("seed %d: stored %d %s %t, want %d %s", seed, r.WishVersion, roleOf(r.Identity), r.WishPending, last.Version, role)
			}
			check(t, p.newest().Tokens.RTC == role.String(), "seed %d: the client has %+v", seed, p.newest())

			for _, m := range nodes {
				if random.IntN(2) == 0 {
					m.link.fail(away)
				}
			}
			wait(time.Duration(random.IntN(5000)) * time.Millisecond)
			ended := false
			for _, m := range nodes {
				_, err := m.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishEnd})
				ended = ended || err == nil
			}
			for _, m := range nodes {
				m.link.fail(nil)
			}
			wait(20 * time.Second)
			if open, _ := c.store.Len(); !ended || open != 0 || p.got().ended == nil {
				t.Errorf("seed %d: %d sessions are open, the client was told %+v", seed, open, p.got().ended)
			}
			for _, m := range nodes {
				wantEnded(t, p.on(m).resume(p), session.EndRevoked)
			}
		})
	}
}
