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
				first := g.tab()
				first.join(10 * time.Second)
				g.keep(first)
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
		wait(30 * time.Minute) // so long that the terms of all sessions end
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
	tabs []*fakeClient // guarded by mu
}

// tab returns a connection that answers no push and whose writes fail now and then.
func (g *gang) tab() *fakeClient {
	return &fakeClient{t: g.t, scheduler: g.s, answer: silent, take: func() error {
		if rand.N(8) == 0 {
			return errGone
		}
		return nil
	}}
}

func (g *gang) keep(p *fakeClient) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tabs = append(g.tabs, p)
}

// any returns a random connection.
func (g *gang) any() *fakeClient {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tabs[rand.N(len(g.tabs))]
}

// act does a random operation, with the attachment of one connection and the key of another.
func (g *gang) act() {
	p, request := g.any(), g.any().resumeRequest()
	a, seq := p.current(), p.newest().Seq
	request.Seq = seq
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
			request.ExpiresAt = session.SecOf(time.Now()) + session.UnixSec(rand.N(20))
		}
		next := g.tab()
		next.refuse = rand.N(8) == 0
		if a, err := g.s.Resume(context.Background(), request, next); err == nil {
			next.hold(a)
			g.keep(next)
		}
	case 9, 10:
		request.SeqUnknown = rand.N(2) == 0
		_, _ = g.s.RenewByKey(context.Background(), request)
	case 11, 12:
		kind := store.WishKind(rand.N(2))
		if rand.N(40) == 0 {
			kind = store.WishEnd
		}
		_, _ = g.cluster.Wish(g.t.Context(), "app", store.Wish{Session: request.Session, Kind: kind, Role: session.Role(rand.N(2))})
	default:
		if rand.N(20) == 0 {
			a.Leave()
		}
	}
}
