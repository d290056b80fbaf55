package scheduler

import (
	"log/slog"
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
			s, err := New(c)
			if err != nil {
				b.Fatal(err)
			}
			p := &deaf{}
			a, err := s.Join(session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}}, TTL: time.Hour, Caller: anybody}, p)
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

// deaf is a client that takes everything.
type deaf struct{ seq uint64 }

func (d *deaf) Joined(j session.Joined) error { d.seq = j.Seq; return nil }
func (d *deaf) Push(p session.Push) error     { d.seq = p.Seq; return nil }
func (d *deaf) End(session.Ending)            {}
func (d *deaf) Lost()                         {}
