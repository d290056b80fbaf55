package scheduler

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"refresher/internal/session"
)

// BenchmarkRenewal is a renewal without its tokens and its connection: what the
// schedule, the books and the trace of it cost.
//
//	off        nothing is traced, the default
//	unsampled  it is, but the sampler has chosen others
//	sampled    every one is, and handed to an exporter that drops it
func BenchmarkRenewal(b *testing.B) {
	for name, sampler := range map[string]sdk.Sampler{"off": nil, "unsampled": sdk.NeverSample(), "sampled": sdk.AlwaysSample()} {
		b.Run(name, func(b *testing.B) {
			c := testConfig(b)
			c.Logger, c.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
			if sampler != nil {
				provider := sdk.NewTracerProvider(sdk.WithSampler(sampler))
				c.Tracer = provider.Tracer("bench")
			}
			c.share()
			s := build(b, c)
			p := &deaf{}
			a, err := s.Join(context.Background(), session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}}, TTL: time.Hour, Caller: anybody}, p)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				a.Renew()
				if err := a.Ack(p.seq); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDetached reports the memory of a session whose client has gone without a
// word: heap after a collection, with its record in the store of this process.
func BenchmarkDetached(b *testing.B) {
	count := 100_000
	if testing.Short() {
		count = 100
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		c := testConfig(b)
		c.Minter = longMinter{}
		c.share()
		s := build(b, c)
		before := heap()
		for n := range count {
			user := strconv.Itoa(n)
			a, err := s.Join(context.Background(), session.Join{
				Identity: session.Identity{RTC: &session.RTC{Channel: "load-" + user, UID: uint32(n)}, RTM: &session.RTM{UserID: user}},
				TTL:      time.Hour, Caller: anybody,
			}, &deaf{})
			if err != nil {
				b.Fatal(err)
			}
			a.Detach()
		}
		stopped, stop := context.WithCancel(context.Background())
		stop()
		s.cluster.Run(stopped, s.Scheduler) // saves what is there
		b.ReportMetric(float64(heap()-before)/float64(count), "B/session")
		runtime.KeepAlive(s)
	}
}

// longMinter mints tokens that say nothing, at length: 007 has some 140 bytes.
type longMinter struct{}

func (longMinter) Mint(_ string, _ session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: strings.Repeat("c", 140), RTM: strings.Repeat("m", 140), ExpiresAt: expiresAt}, nil
}

// deaf is a client that takes everything.
type deaf struct{ seq uint64 }

func (d *deaf) Joined(j session.Joined) error { d.seq = j.Seq; return nil }
func (d *deaf) Push(p session.Push) error     { d.seq = p.Seq; return nil }
func (d *deaf) End(session.Ending)            {}
func (d *deaf) Lost()                         {}
