package scheduler

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/session"
)

// tracer makes traces. The zero value makes none.
type tracer struct{ otel trace.Tracer }

// operation is the trace of one renewal, join or resume. Its span has a child span for each step.
// The steps authorize, mint, push and ack are in this package; the steps record and save are in
// package cluster. The methods do nothing on a nil operation. An operation is guarded by the
// entry's lock.
type operation struct {
	tracer *tracer
	// ctx contains the operation's span. It is a field, because an operation lasts over many calls.
	ctx  context.Context
	span trace.Span
	// waiting is the span that ends with the client's answer. It is nil before the first push.
	waiting trace.Span
	// over is true once conclude has set the operation's outcome. The next call of close then ends
	// the operation's span.
	over bool
}

// Attributes of spans. They contain the session's id, by which an operator can search the log, but
// not the names of its users and channel.
const (
	attrSession = attribute.Key("refresher.session")
	attrCause   = attribute.Key("refresher.cause")
	attrSeq     = attribute.Key("refresher.seq")
	attrAttempt = attribute.Key("refresher.attempt")
	attrOutcome = attribute.Key("refresher.outcome")
	attrLag     = attribute.Key("refresher.lag_seconds")
	attrMargin  = attribute.Key("refresher.margin_seconds")
)

// outcomes are the values of attrOutcome for the kinds of events that end a trace.
var outcomes = [...]string{
	evAcked: "acked", evJoined: "joined", evRepeated: "repeated", evRenewed: "answered", evDetached: "detached", evDropped: "lost",
}

// noSpan is a span that records nothing.
var noSpan = trace.SpanFromContext(context.Background())

// begin begins a trace. Its start time may be in the past.
func (t *tracer) begin(name, id string, at session.UnixNano) *operation {
	if t.otel == nil {
		return nil
	}
	ctx, span := t.otel.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(at.Time()), trace.WithAttributes(attrSession.String(id)))
	return &operation{tracer: t, ctx: ctx, span: span}
}

// span begins a child of the span in ctx, unless that span is not recorded.
func (t *tracer) span(ctx context.Context, name string) (context.Context, trace.Span) {
	if t.otel == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, noSpan
	}
	return t.otel.Start(ctx, name)
}

// endSpan ends a span and records err, which may be nil.
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

// observe adds an event to the session's trace. The event evStarted begins the trace of a renewal.
// The caller holds e's lock.
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
		o.span.AddEvent("tokens expired")
		o.span.SetStatus(codes.Error, "tokens expired unconfirmed")
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

// withSpan returns ctx with the operation's span, or ctx unchanged if the operation is nil.
func (o *operation) withSpan(ctx context.Context) context.Context {
	if o == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, o.span)
}

// context returns the context in which child spans begin.
func (o *operation) context() context.Context {
	if o == nil {
		return context.Background()
	}
	return o.ctx
}

// sent begins the span that waits for the client's answer to a push.
func (o *operation) sent(attempt int) {
	if o.span.IsRecording() {
		o.answered("no answer")
		_, o.waiting = o.tracer.span(o.ctx, "ack")
		o.waiting.SetAttributes(attrAttempt.Int(attempt))
	}
}

// answered ends the span that waits for the client's answer. The argument `how` is the kind of
// answer.
func (o *operation) answered(how string) {
	if o.waiting != nil {
		o.waiting.SetAttributes(attrOutcome.String(how))
		o.waiting.End()
		o.waiting = nil
	}
}

// conclude sets the outcome of the operation, unless it is set already.
func (o *operation) conclude(outcome string) {
	if o == nil || o.over {
		return
	}
	o.over = true
	o.answered(outcome)
	o.span.SetAttributes(attrOutcome.String(outcome))
}

// refused ends the trace of a request that failed with err. It does nothing if err is nil.
func (o *operation) refused(err error) {
	if err != nil && o != nil {
		fail(o.span, err)
		o.conclude("refused")
		o.span.End()
	}
}

// replace ends the session's current trace. From then on the session's events are added to o. The
// caller holds e's lock.
func (t *tracer) replace(e *entry, o *operation) {
	e.operation.conclude("replaced")
	t.close(e)
	e.operation = o
}

// close ends the session's trace if the trace's outcome is set. The caller holds e's lock.
func (t *tracer) close(e *entry) {
	if e.operation != nil && e.operation.over {
		e.operation.span.End()
		e.operation = nil
	}
}

// observeValue adds a value to a histogram, with a reference to the operation's trace as its
// exemplar.
func (o *operation) observeValue(h prometheus.Histogram, value float64) {
	if o != nil && o.span.IsRecording() && o.span.SpanContext().IsSampled() {
		if h, ok := h.(prometheus.ExemplarObserver); ok {
			h.ObserveWithExemplar(value, prometheus.Labels{"trace_id": o.span.SpanContext().TraceID().String()})
			return
		}
	}
	h.Observe(value)
}
