package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	sharing "refresher/internal/cluster"
	"refresher/internal/session"
	"refresher/internal/store"
)

// traced makes a Scheduler trace the operations that a sampler selects.
func traced(t testing.TB, c *settings, sampler sdk.Sampler) *tracetest.SpanRecorder {
	t.Helper()
	if c.Store == nil {
		c.share()
	}
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder), sdk.WithSampler(sampler))
	c.Tracer = provider.Tracer("test")
	return recorder
}

// outlines describes each ended trace as text: the root's name and outcome, then in brackets its
// children in the order of their starts.
func outlines(t testing.TB, r *tracetest.SpanRecorder) []string {
	t.Helper()
	spans := r.Ended()
	check(t, len(r.Started()) == len(spans), "%d spans began, %d ended", len(r.Started()), len(spans))
	slices.SortStableFunc(spans, func(a, b sdk.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	children := make(map[trace.SpanID][]sdk.ReadOnlySpan)
	var roots []sdk.ReadOnlySpan
	for _, s := range spans {
		if s.Parent().IsValid() {
			children[s.Parent().SpanID()] = append(children[s.Parent().SpanID()], s)
		} else {
			roots = append(roots, s)
		}
	}
	var outline func(s sdk.ReadOnlySpan) string
	outline = func(s sdk.ReadOnlySpan) string {
		text := s.Name()
		if outcome := attributeOf(s, "refresher.outcome"); outcome != "" {
			text += " (" + outcome + ")"
		}
		var parts []string
		for _, c := range children[s.SpanContext().SpanID()] {
			parts = append(parts, outline(c))
		}
		slices.Sort(parts)
		if len(parts) > 0 {
			text += " [" + strings.Join(parts, ", ") + "]"
		}
		return text
	}
	var all []string
	for _, s := range roots {
		all = append(all, outline(s))
	}
	return all
}

func attributeOf(s sdk.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestARenewalIsOneTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.asks(time.Hour)
		r := traced(t, &c, sdk.AlwaysSample())
		s := start(t, c)
		p := joined(t, s, 10*time.Minute)
		wait(9*time.Minute + 30*time.Second)
		p.current().Leave()
		wait(time.Second)
		want := []string{
			"join (joined) [authorize, mint, push, record [save]]",
			"renewal (acked) [ack (acked), authorize, mint, push, record [save]]",
		}
		diff := cmp.Diff(want, outlines(t, r))
		check(t, diff == "", "%s", diff)
		for _, span := range r.Ended() {
			if span.Name() == "renewal" {
				for key, want := range map[string]string{"refresher.session": p.got().joined.Session, "refresher.cause": "schedule", "refresher.seq": "2"} {
					if got := attributeOf(span, key); got != want {
						t.Errorf("%s: %q, want %q", key, got, want)
					}
				}
				// The renewal is due 45 s and a jitter before the tokens expire. Its trace begins
				// 15 s before it is due, with the request for approval.
				due := span.Events()[0]
				if due.Name != "due" || due.Time.Sub(span.StartTime()) != 15*time.Second {
					t.Errorf("%s %s after the beginning", due.Name, due.Time.Sub(span.StartTime()))
				}
			}
		}
	})
}

func TestTracesOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		r := traced(t, &c, sdk.AlwaysSample())
		s := start(t, c)
		nacked := false
		p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
			switch {
			case push.Seq == 2 && !nacked: // the client nacks the first push, ignores the second and acks the third
				nacked = true
				if err := p.current().Nack(push.Seq, "E", "no"); err != nil {
					t.Error(err)
				}
			case push.Attempt == 1:
			default:
				p.ack(push.Seq)
			}
		}}
		p.join(10 * time.Minute)
		wait(9*time.Minute + 30*time.Second)
		p.answer = silent
		again := p.again()
		again.answer = nil
		must(t, again.resume(p))
		again.ack(again.got().joined.Seq)
		wait(time.Second)
		again.answer = silent
		again.renewOn(s)
		if _, err := s.Resume(context.Background(), session.Resume{Session: "S", Key: "no key"}, &fakeClient{t: t}); !errors.Is(err, session.ErrUnknown) {
			t.Fatal(err)
		}
		again.current().Leave()
		wait(time.Second)
		want := []string{
			"join (joined) [mint, push, record [save]]",
			"renewal (acked) [ack (acked), ack (nacked), ack (no answer), mint, mint, push, push, push, record [save]]",
			"resume (acked) [ack (acked), mint, push, record [save]]",
			"renewal over HTTP (answered) [mint]",
			"resume (refused)",
		}
		diff := cmp.Diff(want, outlines(t, r))
		check(t, diff == "", "%s", diff)
	})
}

// Every span ends, however the session ends.
func TestTracesEnd(t *testing.T) {
	for name, ending := range map[string]func(s *Scheduler, p *fakeClient){
		"left":        func(_ *Scheduler, p *fakeClient) { p.current().Leave() },
		"detached":    func(_ *Scheduler, p *fakeClient) { p.current().Detach() },
		"silent":      func(*Scheduler, *fakeClient) { pass(time.Minute) },
		"taken again": func(s *Scheduler, p *fakeClient) { _ = p.again().resume(p) },
		"revoked": func(s *Scheduler, _ *fakeClient) {
			revoke(s, store.Selector{App: "app", Channel: "c"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := testConfig(t)
				r := traced(t, &c, sdk.AlwaysSample())
				s := start(t, c)
				p := joinedSilent(t, s, 10*time.Minute)
				wait(9*time.Minute + 16*time.Second) // a push is waiting for its ack by now, or will be soon
				ending(s, p)
				wait(30 * time.Minute)
				outlines(t, r)
			})
		})
	}
}

// The records of one batch share one span, which belongs to the trace of one of these records. The
// traces of the other records have a link to the span.
func TestTracesOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		r := traced(t, &c, sdk.AlwaysSample())
		s := start(t, c)
		for range 3 {
			joined(t, s, time.Hour)
		}
		wait(time.Second)
		saves, linked := 0, 0
		for _, span := range r.Ended() {
			switch {
			case span.Name() == "save":
				saves++
			case span.Name() == "record" && len(span.Links()) == 1:
				linked++
			}
		}
		check(t, saves == 1 && linked == 2, "%d exchanges, %d referred to", saves, linked)
	})
}

// A trace that the sampler does not select records nothing and adds no exemplars.
func TestUnsampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			sampler   sdk.Sampler
			spans     bool
			exemplars int
		}{{sdk.NeverSample(), false, 0}, {sdk.AlwaysSample(), true, 3}} {
			config := testConfig(t)
			registry := prometheus.NewRegistry()
			config.Registerer = registry
			r := traced(t, &config, c.sampler)
			s := start(t, config)
			p := joined(t, s, 10*time.Minute)
			wait(10 * time.Minute)
			p.current().Leave()
			wait(time.Second)
			if spans := len(r.Ended()) > 0; spans != c.spans {
				t.Errorf("spans: %v, want %v", spans, c.spans)
			}
			traces := make(map[string]bool)
			for _, span := range r.Ended() {
				traces[span.SpanContext().TraceID().String()] = true
			}
			found := exemplars(t, registry)
			check(t, len(found) == c.exemplars, "exemplars: %v, want %d", found, c.exemplars)
			for name, id := range found {
				check(t, traces[id], "%s: there is no trace %s", name, id)
			}
		}
	})
}

// exemplars returns the trace ids in the exemplars of the histograms, by metric.
func exemplars(t testing.TB, g prometheus.Gatherer) map[string]string {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	found := make(map[string]string)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, b := range slices.Concat(m.GetHistogram().GetBucket(), []*dto.Bucket{{Exemplar: first(m.GetHistogram().GetExemplars())}}) {
				for _, l := range b.GetExemplar().GetLabel() {
					found[f.GetName()+" "+l.GetName()] = l.GetValue()
				}
			}
		}
	}
	return found
}

func first(all []*dto.Exemplar) *dto.Exemplar {
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// Requests to your back end and to the store carry the trace of the renewal in their context.
func TestTracesContinueInRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		inside := make(map[string]int)
		note := func(what string, ctx context.Context) {
			mu.Lock()
			defer mu.Unlock()
			if trace.SpanContextFromContext(ctx).IsSampled() {
				inside[what]++
			}
		}
		c := testConfig(t)
		c.Policy.ApprovalAhead, c.Policy.ApprovalGrace = 15*time.Second, time.Hour
		c.Approve = func(ctx context.Context, action session.Action, _ session.ResumeClaims) (Answer, error) {
			note(fmt.Sprint("ask ", action), ctx)
			return Answer{Agreed: true}, nil
		}
		c.share()
		c.Store = &notingStore{Store: c.Store, note: note}
		traced(t, &c, sdk.AlwaysSample())
		s := start(t, c)
		p := joined(t, s, 10*time.Minute)
		wait(9*time.Minute + 30*time.Second)
		p.comesBack()
		wait(time.Second)
		want := []string{"acquire", "ask join", "ask renew", "ask resume", "save"}
		diff := cmp.Diff(want, slices.Sorted(maps.Keys(inside)))
		check(t, diff == "", "%s", diff)
	})
}

type notingStore struct {
	sharing.Store

	note func(what string, ctx context.Context)
}

func (s *notingStore) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	s.note("acquire", ctx)
	return s.Store.Acquire(ctx, g)
}

func (s *notingStore) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	s.note("save", ctx)
	return s.Store.Save(ctx, records)
}

// A failed renewal over HTTP does not prevent the trace of the next renewal.
func TestRenewalAfterOneThatFailedOverHTTPIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		r := traced(t, &c, sdk.AlwaysSample())
		m := &failingMinter{}
		c.Minter = m
		s := start(t, c)
		p := joined(t, s, time.Minute)
		wait(time.Second)
		m.broken.Store(true)
		if _, err := s.RenewByKey(context.Background(), p.resumeRequest()); !errors.Is(err, errGone) {
			t.Fatal(err)
		}
		m.broken.Store(false)
		p.current().Renew()
		wait(time.Second)
		want := []string{
			"join (joined) [mint, push, record [save]]",
			// the trace has no save: the record of the next renewal replaced its record before that
			// was saved
			"renewal over HTTP (refused) [mint, record]",
			"renewal (acked) [ack (acked), mint, push, record [save]]",
		}
		diff := cmp.Diff(want, outlines(t, r))
		check(t, diff == "", "%s", diff)
	})
}
