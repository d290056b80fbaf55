package scheduler

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
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
func (m *member) want(id string, kind store.WishKind, role session.Role) store.WishResult {
	result, err := m.Wish(context.Background(), "app", store.Wish{Session: id, Kind: kind, Role: role})
	if err != nil {
		panic(err)
	}
	return result
}

func (m *member) setRole(id string, role session.Role) store.WishResult {
	return m.want(id, store.WishRole, role)
}

func (m *member) endSession(id string) store.WishResult { return m.want(id, store.WishEnd, 0) }

// wantPushed checks the number of pushes, and the cause and role of the newest push.
func (p *fakeClient) wantPushed(pushes int, cause session.Cause, role session.Role) {
	p.t.Helper()
	if got := p.newest(); len(p.got().pushes) != pushes || got.Cause != cause || got.Tokens.RTC != role.String() {
		p.t.Errorf("%d pushes, the newest %+v; want %d, with cause %s and role %s", len(p.got().pushes), got, pushes, cause, role)
	}
}

// applied checks the result of an operator's change of a session that is on node a and now has this
// role.
func applied(t *testing.T, result store.WishResult, role session.Role, state session.State) {
	t.Helper()
	r := &result.Record
	if !result.Applied || !result.Stored || r.Node != "a" || roleOf(r.Identity) != role || r.State != state || r.WishVersion != result.Version || r.WishPending {
		t.Errorf("result %+v", result)
	}
}

// An operator's change of one session (a wish) is applied at once on the session's own node, and
// within half a second if it is sent to another node. If the operator ends the session, the result
// contains the expiry of the client's newest tokens, even if the client has not confirmed them.
func TestWishIsApplied(t *testing.T) {
	for asked, most := range map[string]time.Duration{"a": 0, "b": 500 * time.Millisecond} {
		onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
			m := map[string]*member{"a": a, "b": b}[asked]
			began := time.Now()
			applied(t, m.setRole(p.id(), session.Publisher), session.Publisher, session.Attached)
			check(t, time.Since(began) <= most, "answered after %s", time.Since(began))
			p.wantPushed(1, session.CauseRole, session.Publisher)
			wait(time.Second)
			r, _, _ := c.store.Get(t.Context(), p.id())
			check(t, !r.WishPending && roleOf(r.Identity) == session.Publisher && r.HeldSeq == p.newest().Seq, "stored %+v", r)
			p.answer = silent
			applied(t, m.want(p.id(), store.WishRenew, 0), session.Publisher, session.Attached)
			p.wantPushed(2, session.CauseRenew, session.Publisher)
			end := m.endSession(p.id())
			p.wantTold(session.EndRevoked)
			expiry := p.newest().Tokens.ExpiresAt
			check(t, end.Applied && end.Stored && end.Record.ExpiresAt == expiry && p.got().ended.AccessEndsAt == expiry, "ended %+v, expiry %d", end, expiry)
			wait(time.Second)
			c.wantStored(0, 1)
			check(t, a.open() == 0 && c.count(p.id(), store.DeliveredEnd) == 1, "%d sessions, the end was delivered %d times", a.open(), c.count(p.id(), store.DeliveredEnd))
			wantEnded(t, p.again().resume(p), session.EndRevoked)
			for _, kind := range []string{"role", "renew", "end"} {
				equal(t, "wishes counted: "+kind, counterOf(t, m.registry, "refresher_wishes_total", kind, "applied"), 1)
			}
		})
	}
}

// An operator's change of a dead node's session is applied by the node that adopts the session.
func TestWishOfADeadNodesSession(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, ana *fakeClient) {
		bob := joined(t, a.Scheduler, 10*time.Minute)
		wait(time.Second)
		a.kill()
		for _, result := range []store.WishResult{b.setRole(ana.id(), session.Publisher), b.endSession(bob.id())} {
			check(t, !result.Applied && result.Stored && result.Record.Node == "a", "result %+v", result)
		}
		wantEnded(t, bob.on(b).resume(bob), session.EndRevoked)
		wait(10 * time.Minute)
		c.wantStored(1, 1)
		equal(t, "events of the end", c.count(bob.id(), store.DeliveredEnd), 1)
		equal(t, "sessions that node b adopted", b.open(), 1)
		equal(t, "role", ana.move(b).newest().Tokens.RTC, "publisher")
	})
}

// An operator's change of a detached session is applied when its client returns, on any node.
func TestWishOfADetachedSession(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		ana, bob := joinedDetached(t, a.Scheduler, 10*time.Minute), joinedDetached(t, a.Scheduler, 10*time.Minute)
		wait(time.Second)
		applied(t, b.setRole(ana.id(), session.Publisher), session.Publisher, session.Detached)
		applied(t, a.setRole(bob.id(), session.Publisher), session.Publisher, session.Detached)
		wait(time.Second)
		for p, m := range map[*fakeClient]*member{ana: b, bob: a} {
			back := p.move(m)
			equal(t, "role", back.newest().Tokens.RTC, "publisher")
			back.current().Detach()
			wait(time.Second)
			end := b.endSession(p.id())
			check(t, end.Applied && end.Record.ExpiresAt == back.newest().Tokens.ExpiresAt, "ended %+v", end)
			for _, m := range []*member{a, b} {
				wantEnded(t, back.on(m).resume(back), session.EndRevoked)
			}
		}
	})
}

// A renewal over HTTP applies an operator's change, even if the client would otherwise get the same
// tokens again.
func TestRenewalOverHTTPMeetsAWish(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		p.current().Detach()
		wait(time.Second)
		first := p.renewOn(a.Scheduler)
		a.setRole(p.id(), session.Publisher)
		second := p.renewOn(a.Scheduler)
		check(t, second.Seq == first.Seq+1 && second.Tokens.RTC == "publisher", "after a wish here: %+v after %+v", second, first)
		wait(time.Second)
		b.setRole(p.id(), session.Subscriber)
		third := p.renewOn(a.Scheduler)
		check(t, third.Seq == first.Seq+2 && third.Tokens.RTC == "subscriber", "after a wish elsewhere: %+v", third)
		a.link.fail(away) // the session's owner does not learn of the operator's next change; only the store has it
		b.setRole(p.id(), session.Publisher)
		equal(t, "role on another node", p.renewOn(b.Scheduler).Tokens.RTC, "publisher")
	})
}

// While the store is down, a node applies operators' changes to its own sessions, and stores these
// changes later.
func TestWishWhileTheStoreIsAway(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, ana *fakeClient) {
		a.link.fail(away)
		b.link.fail(away)
		wait(5 * time.Second)
		_, err := b.Wish(t.Context(), "app", store.Wish{Session: ana.id(), Kind: store.WishEnd})
		refused, _ := errors.AsType[*session.Error](err)
		check(t, refused != nil && refused.Code == session.CodeUnavailable && refused.RetryAfter > 0, "elsewhere: %v", err)
		role := a.setRole(ana.id(), session.Publisher)
		check(t, role.Applied && !role.Stored, "here: %+v", role)
		ana.wantPushed(1, session.CauseRole, session.Publisher)
		a.link.repair()
		b.link.repair()
		wait(5 * time.Second)
		stored, _, _ := c.store.Get(t.Context(), ana.id())
		check(t, roleOf(stored.Identity) == session.Publisher && stored.WishVersion == role.Version && !stored.WishPending, "stored %+v", stored)
		next := b.setRole(ana.id(), session.Subscriber)
		check(t, next.Version > role.Version && next.Applied, "then %+v", next)
		ana.wantPushed(2, session.CauseRole, session.Subscriber)
		equal(t, "wishes counted as not stored", counterOf(t, a.registry, "refresher_wishes_total", "role", "unstored"), 1)
		equal(t, "wishes counted as failed", counterOf(t, b.registry, "refresher_wishes_total", "end", "failed"), 1)
	})
}

// The error says whether the operator's change may have been stored.
func TestWishThatTheStoreDoesNotConfirm(t *testing.T) {
	failWith := func(err error) func(request) error {
		return func(r request) error {
			if r.name == "wish" {
				return err
			}
			return nil
		}
	}
	for want, set := range map[string]func(*link){
		"nothing was changed": func(l *link) { l.fault = failWith(errors.New("OOM command not allowed")) },
		"may or may not":      func(l *link) { l.after = failWith(errAway) },
	} {
		onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, _, b *member, p *fakeClient) {
			b.link.set(func() { set(b.link) })
			_, err := b.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Publisher})
			check(t, err != nil && strings.Contains(err.Error(), want), "have %v, want %s", err, want)
		})
	}
}

func TestWishRefusals(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.config.Serves = func(string) bool { return true }
		a, b := c.start("a"), c.start("b")
		listener, stranger := anybody, anybody
		listener.Grant = session.Grant{Channels: []string{"*"}, UIDs: []string{"*"}, Roles: []session.Role{session.Subscriber}}
		stranger.App = "other"
		join := func(caller session.Caller, id session.Identity) *fakeClient {
			p := &fakeClient{t: t, scheduler: a.Scheduler}
			must(t, p.open(session.Join{Identity: id, Caller: caller}))
			return p
		}
		limited := join(listener, someone)
		texts := join(anybody, session.Identity{RTM: &session.RTM{UserID: "u"}})
		others := join(stranger, someone)
		wait(time.Second)
		for _, test := range []struct {
			id   string
			kind store.WishKind
			want session.Code
		}{
			{limited.id(), store.WishRole, session.CodeForbidden},
			{texts.id(), store.WishRole, session.CodeBadRequest},
			{others.id(), store.WishRole, session.CodeUnknownSession},
			{others.id(), store.WishRenew, session.CodeUnknownSession},
			{others.id(), store.WishEnd, session.CodeUnknownSession},
			{"none", store.WishEnd, session.CodeUnknownSession},
		} {
			for _, m := range []*member{a, b} {
				began := time.Now()
				_, err := m.Wish(t.Context(), "app", store.Wish{Session: test.id, Kind: test.kind, Role: session.Publisher})
				wantCode(t, err, test.want)
				// An operator cannot distinguish a session of another project from a session that
				// does not exist, not even by the time until the answer.
				if took := time.Since(began); test.want == session.CodeUnknownSession && (!errors.Is(err, session.ErrNotOpen) || took != 250*time.Millisecond) {
					t.Errorf("%+v: %v after %s", test, err, took)
				}
			}
		}
		wait(time.Second)
		for _, p := range []*fakeClient{limited, texts, others} {
			check(t, len(p.got().pushes) == 0 && p.got().ended == nil, "told %+v", p.got())
		}
	})
}

// An operator's change of a session that was joined just now succeeds on every node.
func TestWishOfASessionJoinedAMomentAgo(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		for _, m := range []*member{a, b} {
			p := joined(t, a.Scheduler, 10*time.Minute)
			applied(t, m.setRole(p.id(), session.Publisher), session.Publisher, session.Attached)
			wait(time.Second)
			p.wantPushed(1, session.CauseRole, session.Publisher)
			p = joined(t, a.Scheduler, 10*time.Minute)
			end := m.endSession(p.id())
			check(t, end.Applied && end.Stored && p.got().ended != nil, "ended %+v", end)
		}
		c.wantStored(2, 2)
	})
}

// A session is locked while a push is written. An operator's change of the session does not wait
// for this lock, and is applied after the push. If the store is down too, the operator gets an error, since the
// node has no record of the session to return.
func TestWishOfABusySession(t *testing.T) {
	for _, up := range []bool{true, false} {
		onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, a, _ *member, p *fakeClient) {
			if !up {
				a.link.fail(away)
				wait(5 * time.Second)
			}
			p.take = func() error { pass(4 * time.Second); return nil }
			go p.current().Renew()
			wait(time.Second)
			began := time.Now()
			end, err := a.Wish(t.Context(), "app", store.Wish{Session: p.id(), Kind: store.WishEnd})
			took := time.Since(began)
			check(t, took <= time.Second && !end.Applied && end.Stored == up && (err == nil) == up, "store up %t: took %s: %+v, %v", up, took, end, err)
			check(t, up || strings.Contains(err.Error(), "slow to read a message"), "%v", err)
			wait(5 * time.Second)
			p.wantTold(session.EndRevoked)
		})
	}
}

// A client leaves before the session's owner learns that an operator has ended the session. The
// session's keys are still refused for as long as after an operator's end.
func TestEndOfASessionThatLeaves(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		a.link.fail(away)
		b.endSession(p.id())
		p.current().Leave()
		a.link.repair()
		wait(3 * time.Hour)
		for _, m := range []*member{a, b} {
			wantEnded(t, p.on(m).resume(p), session.EndRevoked)
		}
		equal(t, "deliveries of the end", c.count(p.id(), store.DeliveredEnd), 1)
	})
}

// A node that missed the notice of a session's end learns of the end when it sweeps overdue
// sessions.
func TestEndWhoseNoticeIsLost(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		a.link.set(func() { a.link.deaf = true })
		end := b.endSession(p.id())
		check(t, !end.Applied, "ended %+v", end)
		// If node b sweeps overdue sessions before node a does, node b postpones the session by
		// store.Later, so that its owner, node a, has time to renew it.
		wait(5 * time.Minute)
		p.wantTold(session.EndRevoked)
	})
}

// A node that has missed that another node acquired the session applies no operator's change to its
// outdated state, and does not end the session.
func TestWishAtAFormerOwner(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		a.link.set(func() { a.link.deaf = true })
		moved := p.move(b)
		result := a.setRole(p.id(), session.Publisher)
		check(t, result.Applied && result.Record.Node == "b", "result %+v", result)
		moved.wantPushed(1, session.CauseRole, session.Publisher)
		equal(t, "pushes of the former owner", len(p.got().pushes), 0)
		p.current().Leave()
		wait(time.Second)
		equal(t, "sessions that the former owner keeps", len(a.table.open)+len(a.table.ended), 0)
		moved.wantServed(1)

		// The owner applies a change once, even if it learns of the change twice.
		wish := store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Publisher}
		again := <-b.ApplyWish(wish, result)
		check(t, again.Applied && again.Version == result.Version, "result %+v, then %+v", result, again)
		moved.wantPushed(1, session.CauseRole, session.Publisher)

		// The version of this change is one that the owner has already given to a change to another
		// role. So this change gets a higher version.
		wait(5 * time.Second)
		wish.Role, result.Record.Identity = session.Subscriber, someone
		tied := <-b.ApplyWish(wish, result)
		check(t, tied.Applied && tied.Version == result.Version+1, "result %+v", tied)
		moved.wantPushed(2, session.CauseRole, session.Subscriber)
	})
}

// A new role is approved by your back end before tokens with it are minted.
func TestWishIsApproved(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		asked := make(chan string, 10)
		c.config.Policy.ApprovalAhead, c.config.Policy.ApprovalGrace = time.Second, time.Hour
		c.config.Approve = func(_ context.Context, action session.Action, k session.ResumeClaims) (Answer, error) {
			role := roleOf(k.Identity)
			asked <- string(action) + " " + role.String()
			return Answer{Agreed: k.Subject != "eve" || role == session.Subscriber}, nil
		}
		wantAsked := func(want string) {
			t.Helper()
			wait(time.Second)
			equal(t, "requests for approval", len(asked), 1)
			equal(t, "request for approval", <-asked, want)
		}
		a, b := c.start("a"), c.start("b")
		ana := joinAs(t, a.Scheduler, "a", 1, "ana")
		wantAsked("join subscriber")
		eve := joinAs(t, a.Scheduler, "a", 2, "eve")
		wantAsked("join subscriber")
		b.setRole(ana.id(), session.Publisher)
		wantAsked("renew publisher")
		ana.wantPushed(1, session.CauseRole, session.Publisher)

		// At a resume, approval is requested for the role in the record, not for the one in the
		// key.
		ana.current().Detach()
		wait(time.Second)
		back := ana.on(b)
		must(t, back.resume(ana))
		wantAsked("resume publisher")
		b.link.fail(away) // the session's owner does not learn of the operator's next change; only the store has it
		a.setRole(ana.id(), session.Subscriber)
		back.current().Detach()
		back.renewOn(a.Scheduler)
		wantAsked("renew subscriber")

		a.setRole(eve.id(), session.Publisher)
		wantAsked("renew publisher")
		eve.wantTold(session.EndDenied)
		equal(t, "pushes", len(eve.got().pushes), 0)
	})
}

// The answer to a request for approval of one role does not permit tokens with another role.
func TestApprovalIsOfARole(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.config.Policy.ApprovalAhead, c.config.Policy.ApprovalGrace = 10*time.Second, time.Hour
		c.config.Approve = func(_ context.Context, _ session.Action, k session.ResumeClaims) (Answer, error) {
			pass(4 * time.Second)
			return Answer{Agreed: roleOf(k.Identity) == session.Subscriber}, nil
		}
		a := c.start("a")
		p := joined(t, a.Scheduler, 10*time.Minute)
		p.current().Renew() // the node requests approval
		wait(time.Second)
		a.setRole(p.id(), session.Publisher)
		wait(20 * time.Second)
		p.wantTold(session.EndDenied)
		equal(t, "pushes", len(p.got().pushes), 0)
	})
}

// Operators change the role through nodes that sometimes cannot reach the store, while the client
// moves between the nodes. At the end the store and the client's tokens have the role of the change
// with the highest version.
func TestWishesConverge(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 25
	}
	for seed := range seeds {
		inCluster(t, func(t *testing.T, c *cluster) {
			random := rand.New(rand.NewPCG(seed, 0))
			nodes := []*member{c.start("a"), c.start("b"), c.start("c")}
			repair := func() {
				for _, m := range nodes {
					m.link.repair()
				}
				wait(20 * time.Second)
			}
			p := joined(t, nodes[0].Scheduler, 10*time.Minute)
			wait(time.Second)
			var last store.WishResult // last is the result that has the highest version
			role := session.Subscriber
			for range 30 {
				m := nodes[random.IntN(len(nodes))]
				switch random.IntN(6) {
				case 0:
					m.link.fail(away)
				case 1, 2:
					m.link.repair()
				case 3:
					p = p.move(m)
				default:
					w := store.Wish{Session: p.id(), Kind: store.WishRole, Role: session.Role(random.IntN(2))}
					if result, err := m.Wish(t.Context(), "app", w); err == nil && result.Version > last.Version {
						last, role = result, w.Role
					}
				}
				wait(time.Duration(random.IntN(3000)) * time.Millisecond)
			}
			repair()
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
			repair()
			check(t, ended && p.got().ended != nil, "seed %d: the client was told %+v", seed, p.got().ended)
			c.wantStored(0, 1)
			for _, m := range nodes {
				wantEnded(t, p.on(m).resume(p), session.EndRevoked)
			}
		})
	}
}
