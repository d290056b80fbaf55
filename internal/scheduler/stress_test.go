package scheduler

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	sharing "refresher/internal/cluster"
	"refresher/internal/session"
	"refresher/internal/store"
)

// TestConcurrentOperationsOnTheSameSessions has several goroutines do random operations on each of
// many sessions, with connections whose writes sometimes fail. It checks the order of the messages
// on every connection, and that no session remains at the end. It is meant for the race detector.
func TestConcurrentOperationsOnTheSameSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Policy.ResumeWindow = 3 * time.Second
		c.Policy.MaxSession = 5 * time.Minute
		c.Slots = 4
		c.share()
		n := startNode(t, c)
		s := n.Scheduler
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				g := &gang{t: t, s: s, cluster: n.cluster}
				g.join()
				var hands sync.WaitGroup
				for range 4 {
					hands.Go(func() {
						for range 150 {
							pass(rand.N(3 * time.Second))
							g.act()
						}
					})
				}
				hands.Wait()
			})
		}
		all.Wait()
		whole(t, s)
		wait(30 * time.Minute) // longer than the terms of all sessions
		whole(t, s)
		equal(t, "sessions, deadlines and endings that are left", len(s.table.open)+s.table.queue.Len()+len(s.table.ended), 0)
		for state, gauge := range s.metrics.sessions {
			check(t, testutil.ToFloat64(gauge) == 0, "%v sessions count as in state %d", testutil.ToFloat64(gauge), state)
		}
	})
}

// gang holds all connections, past and present, of one session.
type gang struct {
	cluster *sharing.Cluster
	t       *testing.T
	s       *Scheduler

	mu   sync.Mutex
	tabs []*tab // guarded by mu
}

func (g *gang) join() {
	first := &tab{t: g.t}
	a, err := g.s.Join(context.Background(), session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}}, TTL: 10 * time.Second, Caller: anybody}, first)
	if err != nil {
		g.t.Error(err)
		return
	}
	g.keep(first, a)
}

func (g *gang) keep(c *tab, a session.Attachment) {
	c.mu.Lock()
	c.attachment = a
	c.mu.Unlock()
	g.mu.Lock()
	g.tabs = append(g.tabs, c)
	g.mu.Unlock()
}

// any returns the attachment of a random connection, and the messages that it received.
func (g *gang) any() (a session.Attachment, joined session.Joined, seq uint64) {
	g.mu.Lock()
	c := g.tabs[rand.N(len(g.tabs))]
	g.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attachment, c.joined, c.seq
}

// act does a random operation, with the attachment of one connection and the key of another.
func (g *gang) act() {
	a, _, seq := g.any()
	_, key, _ := g.any()
	resumeRequest := session.Resume{Session: key.Session, Key: key.Key, Seq: seq}
	switch rand.N(14) {
	case 0:
		a.Detach()
	case 1, 2:
		a.Renew()
	case 3, 4, 5:
		_ = a.Ack(seq)
	case 6:
		_ = a.Nack(seq, "code", "message")
	case 7, 8:
		if rand.N(2) == 0 {
			resumeRequest.ExpiresAt = session.SecOf(time.Now()) + session.UnixSec(rand.N(20))
		}
		c := &tab{t: g.t, flaky: true}
		if a, err := g.s.Resume(context.Background(), resumeRequest, c); err == nil {
			g.keep(c, a)
		}
	case 9, 10:
		resumeRequest.SeqUnknown = rand.N(2) == 0
		_, _ = g.s.RenewByKey(context.Background(), resumeRequest)
	case 11, 12:
		kind := store.WishKind(rand.N(2))
		if rand.N(40) == 0 {
			kind = store.WishEnd
		}
		_, _ = g.cluster.Wish(g.t.Context(), "app", store.Wish{Session: key.Session, Kind: kind, Role: session.Role(rand.N(2))})
	default:
		if rand.N(20) == 0 {
			a.Leave()
		}
	}
}

// tab is a connection that checks the order of the messages that it receives.
type tab struct {
	t     *testing.T
	flaky bool // writes fail now and then

	mu          sync.Mutex
	attachment  session.Attachment // guarded by mu
	joined      session.Joined     // guarded by mu
	seq         uint64             // guarded by mu
	expiresAt   session.UnixSec    // guarded by mu
	ended, lost bool               // guarded by mu
}

func (c *tab) Joined(j session.Joined) error {
	c.mu.Lock()
	c.joined = j
	c.mu.Unlock()
	return c.Push(j.Push)
}

func (c *tab) Push(p session.Push) error {
	if c.flaky && rand.N(8) == 0 {
		return errGone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.Seq < c.seq || p.Tokens.ExpiresAt < c.expiresAt || c.ended || c.lost {
		c.t.Errorf("seq %d until %d, after %d until %d; ended %v, lost %v", p.Seq, p.Tokens.ExpiresAt, c.seq, c.expiresAt, c.ended, c.lost)
	}
	c.seq, c.expiresAt = p.Seq, p.Tokens.ExpiresAt
	return nil
}

func (c *tab) End(session.Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	check(c.t, !c.ended, "ended twice")
	c.ended = true
}

func (c *tab) CloseDead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	check(c.t, !c.lost, "lost twice")
	c.lost = true
}

// Some clients have short-lived tokens, do not read, and reconnect each time that their connection
// is closed. Even with few workers, these clients do not delay the renewal of another client.
func TestClientsThatDoNotReadHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stalled = 40
		c := testConfig(t)
		c.Slots = 4
		s := start(t, c)
		until := time.Now().Add(3 * time.Minute)
		var stall func(p *fakeClient)
		stall = func(p *fakeClient) {
			p.take = func() error {
				pass(5 * time.Second) // blocks as long as the write deadline
				go func() {
					next := p.again()
					stall(next)
					if time.Now().Before(until) {
						_ = next.resume(p) // fails if the client has used a newer key meanwhile
					}
				}()
				return errGone
			}
		}
		for range stalled {
			p := &fakeClient{t: t, scheduler: s, answer: silent}
			stall(p)
			p.join(10 * time.Second)
		}
		good := joined(t, s, 2*time.Minute)
		expires := good.got().expiresAt
		wait(2 * time.Minute)
		g := good.got()
		require(t, len(g.at) != 0, "it was not renewed while its tokens lived")
		// Tokens are renewed 45 s before they expire, or earlier by the jitter.
		left := expires.Time().Sub(g.at[0])
		check(t, left >= 44*time.Second, "its tokens had %s left when they were renewed; want 45 s and more", left)
		wait(time.Hour)
	})
}
