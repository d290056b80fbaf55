package scheduler

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"refresher/internal/session"
)

// rig renews one session again and again. It does not wait for a deadline, but sets the clocks
// forward to it.
type rig struct {
	node   *node
	entry  *entry
	client *deaf
	hands  session.Attachment
	// passed is how far the clocks are ahead of real time.
	passed time.Duration
}

func newRig(t testing.TB, c settings) *rig {
	t.Helper()
	c.Policy.MaxSession = 100 * 365 * 24 * time.Hour
	c.Minter, c.Logger = longMinter{}, slog.New(slog.DiscardHandler)
	c.share()
	r := &rig{node: build(t, c), client: &deaf{}}
	r.hands = joinUser(t, r.node, 0, r.client)
	r.entry = r.node.table.get(r.client.session)
	r.node.clock.wall = func() time.Time { return time.Now().Add(r.passed) }
	return r
}

// renew renews the session when it is due, and acks the push.
func (r *rig) renew(t testing.TB) {
	t.Helper()
	clock, seq := &r.node.clock, r.client.seq
	wait := r.entry.session.Deadline() - clock.now().Mono
	clock.origin = clock.origin.Add(-wait)
	r.passed += wait
	r.node.table.next(clock.now().Mono).fire()
	if err := r.hands.Ack(r.client.seq); err != nil || r.client.seq != seq+1 {
		t.Fatalf("seq %d after %d, %v", r.client.seq, seq, err)
	}
}

// A confirmed renewal makes four allocations in the engine: two tokens, the pending bundle, and the
// record for the store.
func TestRenewalAllocatesLittle(t *testing.T) {
	r := newRig(t, testConfig(t))
	got := testing.AllocsPerRun(1000, func() { r.renew(t) })
	check(t, got <= 4, "%v allocations", got)
}

// BenchmarkRenewal measures the engine's cost of a renewal: the queue, the metrics and the trace.
// Minting and the connection are not included.
//
//	off        nothing is traced (the default)
//	unsampled  tracing is on, but the sampler does not select the renewal
//	sampled    the renewal is traced, and the exporter discards its spans
func BenchmarkRenewal(b *testing.B) {
	for name, sampler := range map[string]sdk.Sampler{"off": nil, "unsampled": sdk.NeverSample(), "sampled": sdk.AlwaysSample()} {
		b.Run(name, func(b *testing.B) {
			c := testConfig(b)
			if sampler != nil {
				c.Tracer = sdk.NewTracerProvider(sdk.WithSampler(sampler)).Tracer("bench")
			}
			r := newRig(b, c)
			b.ReportAllocs()
			for b.Loop() {
				r.renew(b)
			}
		})
	}
}

// An attached session takes about 850 bytes of heap in the engine, also after a renewal. This
// includes the session's strings and its places in the queue and in the table's map. It does not
// include the connection and the store.
func TestSessionTakesLittleHeap(t *testing.T) {
	const count = 10_000
	c := testConfig(t)
	c.Minter = longMinter{}
	s := build(t, c)
	clients, attached := make([]deaf, count), make([]session.Attachment, count)
	before := heapInUse()
	for n := range count {
		attached[n] = joinUser(t, s, n, &clients[n])
	}
	for n, a := range attached {
		e := s.table.get(clients[n].session)
		e.change(func() bool { // renews the session as if its renewal were due
			e.renew(session.CauseSchedule, s.clock.now())
			return true
		})
		must(t, a.Ack(clients[n].seq))
	}
	got := (heapInUse() - before) / count
	check(t, got <= 900, "a session takes %d bytes", got)
	runtime.KeepAlive(s)
}

// heapInUse returns the size of the heap after a garbage collection, in bytes.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// joinUser opens a session of user n, with tokens for RTC and RTM.
func joinUser(t testing.TB, s *node, n int, client session.Client) session.Attachment {
	t.Helper()
	user := strconv.Itoa(n + 1)
	a, err := s.Join(context.Background(), session.Join{
		Identity: session.Identity{RTC: &session.RTC{Channel: "load-" + user, UID: uint32(n + 1)}, RTM: &session.RTM{UserID: user}},
		TTL:      time.Hour, Caller: anybody,
	}, client)
	must(t, err)
	return a
}

// BenchmarkDetached reports the memory that a session takes after its client has disconnected: heap
// after a garbage collection, including its record in a store in memory.
func BenchmarkDetached(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 100
	}
	for b.Loop() {
		c := testConfig(b)
		c.Minter = longMinter{}
		c.share()
		s := build(b, c)
		before := heapInUse()
		for n := range count {
			joinUser(b, s, n, &deaf{}).Detach()
		}
		stopped, stop := context.WithCancel(context.Background())
		stop()
		s.cluster.Run(stopped, s.Scheduler) // Run saves the waiting records before it returns
		b.ReportMetric(float64(heapInUse()-before)/float64(count), "B/session")
		runtime.KeepAlive(s)
	}
}

// longMinter mints fixed tokens of a realistic length: a token in Agora's format 007 has about 140
// bytes.
type longMinter struct{}

func (longMinter) Mint(_ string, _ session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: strings.Repeat("c", 140), RTM: strings.Repeat("m", 140), ExpiresAt: expiresAt}, nil
}

// deaf is a client that ignores all messages.
type deaf struct {
	session string
	seq     uint64
}

func (d *deaf) Joined(j session.Joined) error { d.session, d.seq = j.Session, j.Seq; return nil }
func (d *deaf) Push(p session.Push) error     { d.seq = p.Seq; return nil }
func (d *deaf) End(session.Ending)            {}
func (d *deaf) CloseDead()                    {}
