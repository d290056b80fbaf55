package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

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
// children in alphabetical order.
func outlines(t testing.TB, r *tracetest.SpanRecorder) []string {
	t.Helper()
	spans := r.Ended()
	equal(t, "ended spans", len(spans), len(r.Started()))
	slices.SortStableFunc(spans, func(a, b sdk.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	children := make(map[trace.SpanID][]sdk.ReadOnlySpan)
	for _, s := range spans {
		children[s.Parent().SpanID()] = append(children[s.Parent().SpanID()], s)
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
	for _, s := range children[trace.SpanID{}] {
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

// wantTraces checks the outlines of all traces.
func wantTraces(t testing.TB, r *tracetest.SpanRecorder, want ...string) {
	t.Helper()
	diff := cmp.Diff(want, outlines(t, r))
	check(t, diff == "", "%s", diff)
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
		wantTraces(t, r, "join (joined) [authorize, mint, push, record [save]]", "renewal (acked) [ack (acked), authorize, mint, push, record [save]]")
		spans := r.Ended()
		renewal := spans[slices.IndexFunc(spans, func(s sdk.ReadOnlySpan) bool { return s.Name() == "renewal" })]
		attributes := []string{attributeOf(renewal, "refresher.session"), attributeOf(renewal, "refresher.cause"), attributeOf(renewal, "refresher.seq")}
		check(t, slices.Equal(attributes, []string{p.id(), "schedule", "2"}), "attributes %q", attributes)
		// The trace begins 15 s before the renewal is due, with the request for approval.
		due := renewal.Events()[0]
		check(t, due.Name == "due" && due.Time.Sub(renewal.StartTime()) == 15*time.Second, "%s %s after the beginning", due.Name, due.Time.Sub(renewal.StartTime()))
	})
}

func TestTracesOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		r := traced(t, &c, sdk.AlwaysSample())
		m := &failingMinter{}
		c.Minter = m
		s := start(t, c)
		nacked := false
		p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
			switch {
			case !nacked: // the client nacks the first push, ignores the second and acks the third
				nacked = true
				must(t, p.current().Nack(push.Seq, "E", "no"))
			case push.Attempt == 1:
			default:
				p.ack(push.Seq)
			}
		}}
		p.join(10 * time.Minute)
		wait(9*time.Minute + 30*time.Second)
		again := p.comesBack()
		again.ack(again.newest().Seq)
		wait(time.Second)
		push := again.renewOn(s)
		_, err := s.Resume(t.Context(), session.Resume{Session: "S", Key: "no key"}, &fakeClient{t: t})
		require(t, errors.Is(err, session.ErrUnknown), "resume: %v", err)
		m.fail(errGone)
		_, err = s.RenewByKey(t.Context(), session.Resume{Session: again.id(), Key: again.got().joined.Key, Seq: push.Seq})
		require(t, errors.Is(err, errGone), "renewal over HTTP: %v", err)
		m.repair()
		wait(time.Second)
		again.answer = nil
		again.current().Renew() // a failed renewal over HTTP does not prevent the trace of the next renewal
		wait(time.Second)
		again.current().Leave()
		wait(time.Second)
		wantTraces(t, r,
			"join (joined) [mint, push, record [save]]",
			"renewal (acked) [ack (acked), ack (nacked), ack (no answer), mint, mint, push, push, push, record [save]]",
			"resume (acked) [ack (acked), mint, push, record [save]]",
			"renewal over HTTP (answered) [mint]",
			"resume (refused)",
			"renewal over HTTP (refused) [mint, record [save]]",
			"renewal (acked) [ack (acked), mint, push, record [save]]",
		)
	})
}

// Every span ends, however the session ends.
func TestTracesEnd(t *testing.T) {
	for name, ending := range map[string]func(s *Scheduler, p *fakeClient){
		"detached": func(_ *Scheduler, p *fakeClient) { p.current().Detach() },
		"silent":   func(*Scheduler, *fakeClient) { pass(time.Minute) },
		"resumed":  func(_ *Scheduler, p *fakeClient) { _ = p.again().resume(p) },
		"revoked":  func(s *Scheduler, _ *fakeClient) { revoke(s, store.Selector{App: "app", Channel: "c"}) },
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
		joinedMany(t, start(t, c), 3, time.Hour)
		wait(time.Second)
		spans := make(map[string]int)
		for _, span := range r.Ended() {
			spans[fmt.Sprint(span.Name(), " ", len(span.Links()))]++
		}
		check(t, spans["save 0"] == 1 && spans["record 0"] == 1 && spans["record 1"] == 2, "spans by name and number of links: %v", spans)
	})
}

// A trace that the sampler does not select records nothing and adds no exemplars.
func TestUnsampled(t *testing.T) {
	for _, c := range []struct {
		sampler   sdk.Sampler
		exemplars int
	}{{sdk.NeverSample(), 0}, {sdk.AlwaysSample(), 3}} {
		synctest.Test(t, func(t *testing.T) {
			config := testConfig(t)
			registry := prometheus.NewRegistry()
			config.Registerer = registry
			r := traced(t, &config, c.sampler)
			p := joined(t, start(t, config), 10*time.Minute)
			wait(10 * time.Minute)
			p.current().Leave()
			wait(time.Second)
			traces := make(map[string]bool)
			for _, span := range r.Ended() {
				traces[span.SpanContext().TraceID().String()] = true
			}
			check(t, len(traces) > 0 == (c.exemplars > 0), "%d traces", len(traces))
			found := exemplars(t, registry)
			equal(t, "histograms with exemplars", len(found), c.exemplars)
			for name, id := range found {
				check(t, traces[id], "%s: there is no trace %s", name, id)
			}
		})
	}
}

// exemplars returns a trace id for each histogram that has exemplars, by the histogram's name.
func exemplars(t testing.TB, g prometheus.Gatherer) map[string]string {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	found := make(map[string]string)
	for _, f := range families {
		for _, e := range f.GetMetric()[0].GetHistogram().GetExemplars() {
			found[f.GetName()] = e.GetLabel()[0].GetValue()
		}
	}
	return found
}
