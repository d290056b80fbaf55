package scheduler

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
)

// Of renewals that are due at one instant, those whose tokens expire first come first, all of
// them come, and no tokens expire.
func TestDueAtOnceEarliestExpiryFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 2000
		c := testConfig(t)
		c.Slots = 1 // more workers may overtake each other between taking and pushing
		n := build(t, c)
		var mu sync.Mutex
		var order []time.Duration
		for i := range count {
			p := &fakeClient{t: t, scheduler: n.Scheduler}
			p.join(10*time.Minute + time.Duration(i*7919%25)*time.Second)
			e := n.table.get(p.got().joined.Session)
			p.take = func() error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, e.session.HeldExpires())
				return nil
			}
		}
		pass(9*time.Minute + 30*time.Second) // nothing runs, and all fall due
		n.start(t)
		synctest.Wait()
		if len(order) != count || !slices.IsSorted(order) {
			t.Fatalf("%d pushed, %d are due; in the order of their expiry: %v", len(order), count, slices.IsSorted(order))
		}
		if order[0] <= n.clock.now().Mono {
			t.Error("tokens expired")
		}
		whole(t, n.Scheduler)
	})
}

// Renewals that are due within one tick are pushed at one moment.
func TestOneWakeUpForManyRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, tick = 1000, 50 * time.Millisecond
		s := start(t, testConfig(t))
		clients := make([]*fakeClient, count)
		for i := range clients {
			pass(time.Millisecond)
			clients[i] = &fakeClient{t: t, scheduler: s}
			clients[i].join(10 * time.Second) // due within 2.5 s
		}
		wait(9 * time.Second)
		moments := make(map[time.Duration]int)
		for _, p := range clients {
			at := p.got().at[0].Sub(s.clock.origin)
			if at%tick != 0 {
				t.Fatalf("pushed at %s", at)
			}
			moments[at]++
		}
		if len(moments) > 4*int(time.Second/tick) {
			t.Errorf("%d renewals at %d moments", count, len(moments))
		}
	})
}

// Any number of clients that do not read delays the renewals of others by a moment only,
// although there is but one worker for each processor at first.
func TestClientsThatDoNotReadDelayOthersByMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, testConfig(t))
		for range 900 {
			p := &fakeClient{t: t, scheduler: n.Scheduler, answer: silent, take: func() error {
				pass(5 * time.Second)
				return errGone
			}}
			p.join(10 * time.Minute)
		}
		good := &fakeClient{t: t, scheduler: n.Scheduler}
		good.join(10*time.Minute + time.Second) // the last in the order
		pass(9*time.Minute + 30*time.Second)
		began := time.Now()
		n.start(t)
		wait(time.Second)
		if at := good.got().at; len(at) != 1 || at[0].Sub(began) > 50*time.Millisecond {
			t.Errorf("pushed at %v, all were due at %v", at, began)
		}
		good.hands().Leave()
		wait(session.MaxLifetime)
	})
}

// BenchmarkDueAtOnce reports how many renewals a second begin and are pushed while 100,000
// are due at one instant, and how long the first look at the queue holds the table's lock.
//
//	none    to clients that do nothing
//	socket  each is written to a socket, 500 bytes of it
func BenchmarkDueAtOnce(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 100
	}
	for name, sockets := range map[string]int{"none": 0, "socket": 64} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				c := testConfig(b)
				c.Minter, c.Logger = longMinter{}, slog.New(slog.DiscardHandler)
				s := build(b, c)
				conns := drained(b, sockets)
				var pushed sync.WaitGroup
				pushed.Add(count)
				for n := range count {
					client := &writing{pushed: &pushed}
					if sockets > 0 {
						client.to = conns[n%sockets]
					}
					joinUser(b, s, n, client)
				}
				passed := 56 * time.Minute // all are due: at their head start of 5 min and up to half of it before
				s.clock.origin = s.clock.origin.Add(-passed)
				s.clock.wall = func() time.Time { return time.Now().Add(passed) }
				ctx, stop := context.WithCancel(b.Context())
				var running sync.WaitGroup
				b.StartTimer()
				began := time.Now()
				s.table.look(s.clock.now().Mono)
				b.ReportMetric(float64(time.Since(began).Microseconds()), "look-µs")
				running.Go(func() { s.Run(ctx) })
				pushed.Wait()
				b.ReportMetric(float64(count)/time.Since(began).Seconds(), "renewals/s")
				b.StopTimer()
				stop()
				running.Wait()
				b.StartTimer()
			}
		})
	}
}

// drained makes TCP connections whose other ends are read.
func drained(b *testing.B, count int) []net.Conn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	conns := make([]net.Conn, count)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, far) }() // until this end closes
		b.Cleanup(func() { _ = conns[i].Close() })
	}
	return conns
}

// writing is a client whose pushes are written to a connection, if it has one.
type writing struct {
	deaf

	to     net.Conn
	pushed *sync.WaitGroup
}

func (w *writing) Push(session.Push) (err error) {
	if w.to != nil {
		_, err = w.to.Write(make([]byte, 500))
	}
	w.pushed.Done()
	return err
}
