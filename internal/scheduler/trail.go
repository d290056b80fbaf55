package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/session"
)

// trail is the trace of one renewal, join or resume: its span, and under that one
// for each part (authorize, mint, push, ack, record). A nil trail is that of a
// scheduler that traces nothing; all methods take it. It is guarded by the entry's
// lock.
type trail struct {
	ctx     context.Context // of span: a trace goes on from one event to the next
	span    trace.Span
	waiting trace.Span // for the client's answer; nil: nothing was sent yet
	over    bool       // nothing is to come but the record
}

// Attributes of spans. A session's id is in them, as in the log, so that its story
// can be found; what the client is called is not.
const (
	attrSession = attribute.Key("refresher.session")
	attrCause   = attribute.Key("refresher.cause")
	attrSeq     = attribute.Key("refresher.seq")
	attrAttempt = attribute.Key("refresher.attempt")
	attrOutcome = attribute.Key("refresher.outcome")
	attrLag     = attribute.Key("refresher.lag_seconds")
	attrMargin  = attribute.Key("refresher.margin_seconds")
)

// noSpan is the span of what is not traced.
var noSpan = trace.SpanFromContext(context.Background())

// newTrail begins a trace, at a moment that may have passed.
func (s *Scheduler) newTrail(name, id string, began session.UnixNano) *trail {
	if s.config.Tracer == nil {
		return nil
	}
	ctx, span := s.config.Tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(began.Time()),
		trace.WithAttributes(attrSession.String(id)))
	return &trail{ctx: ctx, span: span}
}

// span begins a part of what ctx is about, if that is traced.
func (s *Scheduler) span(ctx context.Context, name string) (context.Context, trace.Span) {
	if s.config.Tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, noSpan
	}
	return s.config.Tracer.Start(ctx, name)
}

// follow begins the trace of a renewal, unless one is under way. e.mu is held.
func (s *Scheduler) follow(e *entry, began session.UnixNano) {
	if s.config.Tracer != nil && e.trail == nil {
		e.trail = s.newTrail("renewal", e.id, began)
	}
}

// context is what parts of the trail begin in.
func (t *trail) context() context.Context {
	if t == nil {
		return context.Background()
	}
	return t.ctx
}

// in returns ctx with the trail's span, if there is one.
func (t *trail) in(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, t.span)
}

// recording reports that somebody is going to see the trail.
func (t *trail) recording() bool { return t != nil && t.span.IsRecording() }

// due notes when the renewal fell due, and how much later it was seen to.
func (t *trail) due(at, now session.Instant) {
	if t.recording() {
		t.span.AddEvent("due", trace.WithTimestamp(at.Wall.Time()),
			trace.WithAttributes(attrLag.Float64((now.Mono - at.Mono).Seconds())))
	}
}

// issued notes what bundle the trail is about.
func (t *trail) issued(push *session.Push) {
	if t.recording() {
		t.span.SetAttributes(attrCause.String(string(push.Cause)), attrSeq.Int64(int64(push.Seq)))
	}
}

// sent notes that a push went out, which the client is going to answer.
func (s *Scheduler) sent(t *trail, attempt int) {
	if !t.recording() {
		return
	}
	t.answered("no answer")
	_, t.waiting = s.span(t.ctx, "ack")
	t.waiting.SetAttributes(attrAttempt.Int(attempt))
}

// answered ends the wait for the client.
func (t *trail) answered(how string) {
	if t != nil && t.waiting != nil {
		t.waiting.SetAttributes(attrOutcome.String(how))
		t.waiting.End()
		t.waiting = nil
	}
}

// acked ends a renewal well.
func (t *trail) acked(margin time.Duration) {
	if t.recording() && !t.over {
		t.span.SetAttributes(attrMargin.Float64(margin.Seconds()))
	}
	t.conclude("acked")
}

// conclude says how it ended; what comes after is the record alone.
func (t *trail) conclude(outcome string) {
	if t == nil || t.over {
		return
	}
	t.over = true
	t.answered(outcome)
	t.span.SetAttributes(attrOutcome.String(outcome))
}

// failed notes that something went wrong on the way.
func (t *trail) failed(err error) {
	if t.recording() {
		t.span.RecordError(err)
		t.span.SetStatus(codes.Error, "")
	}
}

// refused ends the trace of a request that came to nothing.
func (t *trail) refused(err error) {
	if err != nil && t != nil {
		t.failed(err)
		t.conclude("refused")
		t.span.End()
	}
}

// replaceTrail has what comes next belong to another trace. e.mu is held.
func (e *entry) replaceTrail(t *trail) {
	e.trail.conclude("replaced")
	e.closeTrail()
	e.trail = t
}

// closeTrail ends the trace of an entry if there is nothing more to come. e.mu is
// held.
func (e *entry) closeTrail() {
	if e.trail != nil && e.trail.over {
		e.trail.span.End()
		e.trail = nil
	}
}

// observe puts a value into a histogram, with the trace that it belongs to as its
// exemplar, if there is one.
func (t *trail) observe(h prometheus.Histogram, value float64) {
	if t.recording() && t.span.SpanContext().IsSampled() {
		if h, ok := h.(prometheus.ExemplarObserver); ok {
			h.ObserveWithExemplar(value, prometheus.Labels{"trace_id": t.span.SpanContext().TraceID().String()})
			return
		}
	}
	h.Observe(value)
}

// endSpan ends a span, and says so if it went wrong.
func endSpan(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// ranOut notes that the client's tokens ran out before it confirmed the new ones.
func (t *trail) ranOut() {
	if t.recording() {
		t.span.AddEvent("tokens ran out")
		t.span.SetStatus(codes.Error, "tokens ran out unconfirmed")
	}
}

// traceRecord begins the part of a trail that ends when the store was told; nil if
// there is none. e.mu is held.
func (s *Scheduler) traceRecord(e *entry) trace.Span {
	if !e.trail.recording() {
		return nil
	}
	_, span := s.span(e.trail.ctx, "record")
	return span
}

// traceBatch begins the part in which the store is told of many sessions at once.
// It belongs to the first of them that is traced; the others refer to it.
func (s *Scheduler) traceBatch(ctx context.Context, letters []letter) (context.Context, trace.Span) {
	traced := slices.IndexFunc(letters, func(l letter) bool { return l.recording != nil })
	if traced < 0 {
		return ctx, noSpan
	}
	ctx, span := s.span(trace.ContextWithSpan(ctx, letters[traced].recording), "save")
	for _, l := range letters[traced+1:] {
		if l.recording != nil {
			l.recording.AddLink(trace.Link{SpanContext: span.SpanContext()})
		}
	}
	return ctx, span
}
