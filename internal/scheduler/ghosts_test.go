package scheduler

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

// lateAcquires is a store that executes each Acquire but returns a timeout.
type lateAcquires struct {
	*link
	late atomic.Bool
}

func (g *lateAcquires) Acquire(ctx context.Context, x store.AcquireRequest) (store.Acquired, error) {
	held, err := g.link.Acquire(ctx, x)
	if g.late.Load() {
		return store.Acquired{}, context.DeadlineExceeded
	}
	return held, err
}

// If the answer of an Acquire is lost, the store has a higher epoch than the node. The session is
// still renewed, and its end is saved.
func TestAcquireWhoseAnswerIsLost(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		slow := new(lateAcquires)
		a, b := c.start("a"), c.start("b")
		d := c.startWith("d", func(config *settings, l *link) {
			slow.link = l
			config.Store = slow
		})
		p := joined(t, a.Scheduler, time.Minute)
		wait(time.Second)
		p.current().Detach()
		wait(time.Second)
		p.renewOn(b.Scheduler)
		wait(time.Second)
		slow.late.Store(true)
		call := p.move(d)
		wait(time.Second)
		slow.late.Store(false)
		wait(10 * time.Minute)
		call.wantServed(10)
		call.current().Leave()
		wait(time.Second)
		wantEnded(t, call.on(a).resume(call), session.EndLeft)
	})
}

// A client may resume while this node discards the client's session because another node owns it.
func TestResumeOfASessionThatIsBeingLost(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		p := joined(t, a.Scheduler, time.Hour)
		e := a.table.open[p.got().joined.Session]
		e.mu.Lock()
		e.discard() // the entry is not committed yet, so the table still has the session
		e.mu.Unlock()
		key := e.session.Claims()
		if _, err := a.peek(&key); err != nil {
			t.Errorf("a live client is told: %v", err)
		}
		e.Do(e.commit)
		p.move(a)
	})
}

// A failed resume closes the session's previous connection. The session becomes detached, on the
// node and in the store, and the client may resume again.
func TestFailedResumeLeavesTheSessionDetached(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		for _, m := range []*member{a, b} {
			broken := p.on(m)
			broken.refuse = true
			err := broken.resume(p)
			require(t, errors.Is(err, errGone), "resume: %v", err)
			wait(5 * time.Second)
			got := p.got()
			check(t, got.ended == nil && got.lost, "the older connection was told %+v, lost %v; want it to come back", got.ended, got.lost)
			r, _, err := c.store.Get(t.Context(), p.id())
			check(t, err == nil && r.State == session.Detached, "the store has %+v, %v", r, err)
		}
		p.move(a)
	})
}

// A client that renews over HTTP on two nodes in turn need not join its call again.
func TestRenewalsOverHTTPOnNodesInTurn(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		nodes := []*member{c.start("a"), c.start("b"), c.start("d")}
		p := joined(t, nodes[0].Scheduler, time.Minute)
		wait(time.Second)
		p.current().Detach()
		ask := session.Resume{Session: p.got().joined.Session, Key: p.got().joined.Key, SeqUnknown: true}
		for i := range 6 {
			wait(30 * time.Second)
			push, err := nodes[(i+1)%len(nodes)].RenewByKey(context.Background(), ask)
			check(t, err == nil && !push.Rejoin, "renewal %d: %+v, %v", i, push, err)
		}
	})
}

// A live node sends an event that your back end does not acknowledge only once.
func TestEndIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		var ends atomic.Int64
		c.SendEvent = func(e session.Event, _ func(bool)) {
			if e.Type == session.EventEnded || e.Type == session.EventExpired {
				ends.Add(1)
			}
		}
		s := start(t, c)
		left, gone := &fakeClient{t: t, scheduler: s}, &fakeClient{t: t, scheduler: s}
		left.join(time.Minute)
		gone.join(time.Minute)
		wait(time.Second)
		left.current().Leave()
		gone.current().Detach()
		wait(20 * time.Minute)
		check(t, ends.Load() == 2, "two ends announced %d times", ends.Load())
		equal(t, "sessions adopted by the node that has them", testutil.ToFloat64(s.metrics.moves["adopted"]), 0)
	})
}

// A node without webhooks does not mark events as delivered, so that nodes with webhooks send them.
func TestEventsAreSentByNodesWithWebhooks(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.startWith("a", func(config *settings, _ *link) { config.SendEvent = nil })
		p := joined(t, a.Scheduler, time.Minute)
		wait(time.Second)
		call := p.move(c.start("b"))
		wait(time.Minute)
		call.current().Leave()
		wait(time.Minute)
		equal(t, "deliveries of its end", c.count(p.got().joined.Session, store.DeliveredEnd), 1)
	})
}

// A renewal causes one save.
func TestWritesPerRenewal(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		counted := &countedSaves{link: &link{store: c.store}}
		c.config.Store, c.config.Node = counted, "counted"
		s := start(t, c.config)
		p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
			pass(300 * time.Millisecond) // longer than gatherFor, so that no record waits any more
			p.ack(push.Seq)
		}}
		p.join(time.Minute)
		p.ack(1)
		wait(time.Second)
		before := counted.n.Load()
		wait(2 * time.Hour)
		if writes, renewals := counted.n.Load()-before, len(p.got().pushes); writes > int64(renewals)+1 || renewals < 100 {
			t.Errorf("%d writes for %d renewals", writes, renewals)
		}
		p.current().Leave()
		wait(time.Second) // waits for the store's answers
	})
}

type countedSaves struct {
	*link
	n atomic.Int64
}

func (c *countedSaves) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	c.n.Add(int64(len(records)))
	return c.link.Save(ctx, records)
}
