package scheduler

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// If many renewals are due at once, they are pushed in the order of their tokens' expiry, and all
// are pushed.
func TestDueAtOnceEarliestExpiryFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 2000
		c := testConfig(t)
		c.Slots = 1 // with more workers, one worker could overtake another between taking an entry and pushing
		n := build(t, c)
		var mu sync.Mutex
		var order []time.Duration
		for i := range count {
			p := joined(t, n.Scheduler, 10*time.Minute+time.Duration(i*7919%25)*time.Second)
			e := n.table.get(p.got().joined.Session)
			p.take = func() error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, e.session.HeldExpires())
				return nil
			}
		}
		pass(9*time.Minute + 30*time.Second) // the node is not running while the renewals become due
		n.start(t)
		synctest.Wait()
		if len(order) != count || !slices.IsSorted(order) {
			t.Fatalf("%d pushed, %d are due; in the order of their expiry: %v", len(order), count, slices.IsSorted(order))
		}
		check(t, order[0] > n.clock.now().Mono, "tokens expired")
		whole(t, n.Scheduler)
	})
}

// overdue returns a node that does not run yet, with clients whose renewals are due. Each write to
// a client takes the time `write`, and fails.
func overdue(t *testing.T, clients int, write time.Duration) *node {
	t.Helper()
	n := build(t, testConfig(t))
	for range clients {
		p := &fakeClient{t: t, scheduler: n.Scheduler, answer: silent, take: func() error { pass(write); return errGone }}
		p.join(10 * time.Minute)
	}
	return n
}

// Clients that do not read delay other renewals only by milliseconds, whatever the number of such
// clients. If each push takes a millisecond, workers are added.
func TestClientsThatDoNotReadDelayOthersByMilliseconds(t *testing.T) {
	for _, c := range []struct {
		clients     int
		write, most time.Duration
	}{{900, 5 * time.Second, 50 * time.Millisecond}, {2000, time.Millisecond, 200 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			n := overdue(t, c.clients, c.write)
			good := joined(t, n.Scheduler, 10*time.Minute+time.Second) // the tokens of this client expire last
			pass(9*time.Minute + 30*time.Second)
			began := time.Now()
			n.start(t)
			wait(time.Second)
			at := good.got().at
			check(t, len(at) == 1 && at[0].Sub(began) <= c.most, "pushed at %v, all were due at %v", at, began)
			good.current().Leave()
			wait(session.MaxLifetime)
		})
	}
}

// If the workers make progress, frequent wake-ups of Run do not add workers.
func TestNoMoreWorkersForWakeUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := overdue(t, 5000, 50*time.Microsecond)
		pass(9*time.Minute + 30*time.Second)
		n.start(t)
		most := 0
		for range 500 {
			wake(n.table.wake)
			wait(10 * time.Microsecond)
			most = max(most, len(n.workers.slots))
		}
		check(t, most <= runtime.GOMAXPROCS(0), "%d workers", most)
		wait(session.MaxLifetime)
	})
}

// BenchmarkDueAtOnce reports how many renewals per second are confirmed while 100,000 are due at
// one time, and how long the first call of queue.Peek holds the table's lock. The tokens are real.
// No tokens may expire.
func BenchmarkDueAtOnce(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 100
	}
	minter, err := agora.NewMinter(strings.Repeat("a", 32), strings.Repeat("c", 32))
	must(b, err)
	for b.Loop() {
		b.StopTimer()
		c := testConfig(b)
		c.Minter = realMinter{minter}
		s := build(b, c)
		pushed := make(chan *ackingClient, count)
		for n := range count {
			client := &ackingClient{pushed: pushed}
			client.attachment = joinUser(b, s, n, client)
		}
		// After the duration `passed` all renewals are due, and no tokens have expired.
		passed := 56 * time.Minute
		s.clock.origin = s.clock.origin.Add(-passed)
		s.clock.wall = func() time.Time { return time.Now().Add(passed) }
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		b.StartTimer()
		began := time.Now()
		s.table.peek(s.clock.now().Mono)
		b.ReportMetric(float64(time.Since(began).Microseconds()), "peek-µs")
		running.Go(func() { s.Run(ctx) })
		for range count {
			must(b, (<-pushed).attachment.Ack(2))
		}
		b.ReportMetric(float64(count)/time.Since(began).Seconds(), "renewals/s")
		b.StopTimer()
		stop()
		running.Wait()
		equal(b, "expired renewals", testutil.ToFloat64(s.metrics.renewals["expired"]), 0)
		b.StartTimer()
	}
}

// realMinter mints real Agora tokens.
type realMinter struct{ *agora.Minter }

func (m realMinter) Mint(_ string, id session.Identity, f session.Format, _ session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	return m.Minter.Mint(id, f, issuedAt, expiresAt)
}

// ackingClient sends itself to the channel `pushed` at each push, so that another goroutine acks the
// push.
type ackingClient struct {
	deaf

	attachment session.Attachment
	pushed     chan<- *ackingClient
}

func (c *ackingClient) Push(session.Push) error {
	c.pushed <- c
	return nil
}
