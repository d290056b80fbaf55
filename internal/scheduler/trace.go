package scheduler

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/session"
)

// tracer makes traces; the zero value makes none.
type tracer struct{ otel trace.Tracer }

// operation is the trace of one renewal, join or resume: its span, and under that one for
// each part (authorize, mint, push, ack, and the cluster's record and save). A nil
// operation is not traced; all methods take it. It is guarded by the entry's lock.
type operation struct {
	tracer  *tracer
	ctx     context.Context // with span: an operation goes on from one event to the next
	span    trace.Span
	waiting trace.Span // for the client's answer; nil: nothing was sent yet
	over    bool       // it has its outcome; at most the record's part is still to come
}

// Attributes of spans. A session's id is in them, as in the log, so that its story can be
// found; the names of its user and channel are not.
const (
	attrSession = attribute.Key("refresher.session")
	attrCause   = attribute.Key("refresher.cause")
	attrSeq     = attribute.Key("refresher.seq")
	attrAttempt = attribute.Key("refresher.attempt")
	attrOutcome = attribute.Key("refresher.outcome")
	attrLag     = attribute.Key("refresher.lag_seconds")
	attrMargin  = attribute.Key("refresher.margin_seconds")
)

// outcomes are those of the events that end a trace.
var outcomes = [...]string{
	evAcked: "acked", evJoined: "joined", evRepeated: "repeated", evRenewed: "answered", evDetached: "detached", evDropped: "lost",
}

// noSpan is the span of what is not traced.
var noSpan = trace.SpanFromContext(context.Background())

// begin begins a trace, at a moment that may have passed.
func (t *tracer) begin(name, id string, at session.UnixNano) *operation {
	if t.otel == nil {
		return nil
	}
	ctx, span := t.otel.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(at.Time()), trace.WithAttributes(attrSession.String(id)))
	return &operation{tracer: t, ctx: ctx, span: span}
}

// span begins a part of what ctx is about, if that is traced.
func (t *tracer) span(ctx context.Context, name string) (context.Context, trace.Span) {
	if t.otel == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, noSpan
	}
	return t.otel.Start(ctx, name)
}

// endSpan ends a span, and says so if it went wrong.
func endSpan(span trace.Span, err error) {
	fail(span, err)
	span.End()
}

func fail(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
}

// observe takes an event into the session's trace. A renewal's trace begins with it. e's
// lock is held.
func (t *tracer) observe(ev *event, e *entry) {
	if t.otel == nil {
		return
	}
	if ev.kind == evStarted {
		if t.close(e); e.operation == nil {
			e.operation = t.begin("renewal", e.claims.Session, ev.now.Wall)
		}
	}
	if o := e.operation; o != nil {
		o.observe(ev, e)
	}
}

func (o *operation) observe(ev *event, e *entry) {
	switch ev.kind {
	case evDue:
		o.span.AddEvent("due", trace.WithTimestamp(ev.due.Wall.Time()), trace.WithAttributes(attrLag.Float64((ev.now.Mono - ev.due.Mono).Seconds())))
	case evIssued:
		o.span.SetAttributes(attrCause.String(string(ev.cause)), attrSeq.Int64(int64(ev.seq)))
	case evPushed, evResumed:
		o.sent(ev.attempt)
	case evAcked:
		if !o.over {
			o.span.SetAttributes(attrMargin.Float64(ev.acked.Margin.Seconds()))
		}
	case evNacked:
		o.answered("nacked")
	case evTokensExpired:
		o.span.AddEvent("tokens ran out")
		o.span.SetStatus(codes.Error, "tokens ran out unconfirmed")
	case evMintFailed:
		fail(o.span, ev.err)
	case evEnded:
		o.conclude(string(e.reason))
	default:
	}
	if outcome := outcomes[ev.kind]; outcome != "" {
		o.conclude(outcome)
	}
}

// in returns ctx with the operation's span, if there is one.
func (o *operation) in(ctx context.Context) context.Context {
	if o == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, o.span)
}

// context is what parts of the operation begin in.
func (o *operation) context() context.Context {
	if o == nil {
		return context.Background()
	}
	return o.ctx
}

// sent notes that a push went out, which the client is going to answer.
func (o *operation) sent(attempt int) {
	if o.span.IsRecording() {
		o.answered("no answer")
		_, o.waiting = o.tracer.span(o.ctx, "ack")
		o.waiting.SetAttributes(attrAttempt.Int(attempt))
	}
}

// answered ends the wait for the client.
func (o *operation) answered(how string) {
	if o.waiting != nil {
		o.waiting.SetAttributes(attrOutcome.String(how))
		o.waiting.End()
		o.waiting = nil
	}
}

// conclude notes the outcome. At most the record's part comes after it.
func (o *operation) conclude(outcome string) {
	if o == nil || o.over {
		return
	}
	o.over = true
	o.answered(outcome)
	o.span.SetAttributes(attrOutcome.String(outcome))
}

// refused ends the trace of a request that failed; err nil: it did not.
func (o *operation) refused(err error) {
	if err != nil && o != nil {
		fail(o.span, err)
		o.conclude("refused")
		o.span.End()
	}
}

// replace has what comes next of a session belong to another trace. e's lock is held.
func (t *tracer) replace(e *entry, o *operation) {
	e.operation.conclude("replaced")
	t.close(e)
	e.operation = o
}

// close ends the session's trace if there is nothing more to come. e's lock is held.
func (t *tracer) close(e *entry) {
	if e.operation != nil && e.operation.over {
		e.operation.span.End()
		e.operation = nil
	}
}

// observeValue puts a value into a histogram, with the trace that it belongs to as its
// exemplar, if there is one.
func (o *operation) observeValue(h prometheus.Histogram, value float64) {
	if o != nil && o.span.IsRecording() && o.span.SpanContext().IsSampled() {
		if h, ok := h.(prometheus.ExemplarObserver); ok {
			h.ObserveWithExemplar(value, prometheus.Labels{"trace_id": o.span.SpanContext().TraceID().String()})
			return
		}
	}
	h.Observe(value)
}
