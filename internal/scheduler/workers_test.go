package scheduler

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/agora"
	"refresher/internal/protocol"
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
// Pushes are encoded and written to 64 TCP connections, without WebSockets, whose readers confirm
// them. No tokens may expire.
func BenchmarkDueAtOnce(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 100
	}
	for b.Loop() {
		b.StopTimer()
		c := testConfig(b)
		c.Minter, c.Logger = agoraMinter(b), slog.New(slog.DiscardHandler)
		s := build(b, c)
		r := newReaders(b, 64, count)
		for n := range count {
			r.calls[n] = joinUser(b, s, n, &writing{number: uint32(n), to: r.conns[n%len(r.conns)]})
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
		r.confirmed.Wait()
		b.ReportMetric(float64(count)/time.Since(began).Seconds(), "renewals/s")
		b.StopTimer()
		stop()
		running.Wait()
		if n := testutil.ToFloat64(s.metrics.renewals["expired"]); n > 0 {
			b.Errorf("the tokens of %v calls expired", n)
		}
		b.StartTimer()
	}
}

// minting mints real Agora tokens.
type minting struct{ *agora.Minter }

func agoraMinter(b *testing.B) Minter {
	b.Helper()
	m, err := agora.NewMinter(strings.Repeat("a", 32), strings.Repeat("c", 32))
	if err != nil {
		b.Fatal(err)
	}
	return minting{m}
}

func (m minting) Mint(_ string, id session.Identity, f session.Format, _ session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	return m.Minter.Mint(id, f, issuedAt, expiresAt)
}

// readers read pushes from TCP connections and confirm them.
type readers struct {
	conns     []net.Conn           // connections to which pushes are written
	calls     []session.Attachment // the sessions' attachments, by client number
	confirmed sync.WaitGroup       // all calls
}

func newReaders(b *testing.B, conns, calls int) *readers {
	b.Helper()
	r := &readers{calls: make([]session.Attachment, calls)}
	r.confirmed.Add(calls)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range conns {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		var reading sync.WaitGroup
		reading.Go(func() { r.read(b, far) })
		r.conns = append(r.conns, near)
		b.Cleanup(func() {
			_ = near.Close()
			reading.Wait()
		})
	}
	return r
}

// header is the length, in bytes, of the header of each push: the client's number and the length of
// the push.
const header = 8

func (r *readers) read(b *testing.B, from net.Conn) {
	in := bufio.NewReader(from)
	var head [header]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return // closed
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return
		}
		if err := r.calls[binary.BigEndian.Uint32(head[:])].Ack(2); err != nil {
			b.Error(err)
		}
		r.confirmed.Done()
	}
}

// writing is a client whose pushes are written to a TCP connection.
type writing struct {
	deaf

	number uint32
	to     net.Conn
}

func (w *writing) Push(p session.Push) error {
	text, err := json.Marshal(protocol.FromPush(p))
	if err != nil {
		return err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, header+len(text)), w.number)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(text)))
	_, err = w.to.Write(append(frame, text...))
	return err
}
