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

// operation is the trace of one renewal, join or resume: a span, with a child span for each
// step (authorize, mint, push, ack, and the cluster's record and save). All methods accept a
// nil operation, which is not traced. It is guarded by the entry's lock.
type operation struct {
	tracer  *tracer
	ctx     context.Context // contains span; stored because an operation lasts over many calls
	span    trace.Span
	waiting trace.Span // ends with the client's answer; nil: no push was sent yet
	over    bool       // the outcome is set; at most the record's span is still to end
}

// Attributes of spans. They contain the session's id, by which the log can be searched, but
// not the names of its user and channel.
const (
	attrSession = attribute.Key("refresher.session")
	attrCause   = attribute.Key("refresher.cause")
	attrSeq     = attribute.Key("refresher.seq")
	attrAttempt = attribute.Key("refresher.attempt")
	attrOutcome = attribute.Key("refresher.outcome")
	attrLag     = attribute.Key("refresher.lag_seconds")
	attrMargin  = attribute.Key("refresher.margin_seconds")
)

// outcomes are the values of attrOutcome, for the events that end a trace.
var outcomes = [...]string{
	evAcked: "acked", evJoined: "joined", evRepeated: "repeated", evRenewed: "answered", evDetached: "detached", evDropped: "lost",
}

// noSpan records nothing.
var noSpan = trace.SpanFromContext(context.Background())

// begin begins a trace with this start time, which may be in the past.
func (t *tracer) begin(name, id string, at session.UnixNano) *operation {
	if t.otel == nil {
		return nil
	}
	ctx, span := t.otel.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(at.Time()), trace.WithAttributes(attrSession.String(id)))
	return &operation{tracer: t, ctx: ctx, span: span}
}

// span begins a child of the span of ctx, if that is recorded.
func (t *tracer) span(ctx context.Context, name string) (context.Context, trace.Span) {
	if t.otel == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, noSpan
	}
	return t.otel.Start(ctx, name)
}

// endSpan ends a span and records err, unless it is nil.
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

// observe adds an event to the session's trace. evStarted begins the trace of a renewal. e's
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

// context returns the context for child spans.
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

// answered ends the span that waits for the client's answer.
func (o *operation) answered(how string) {
	if o.waiting != nil {
		o.waiting.SetAttributes(attrOutcome.String(how))
		o.waiting.End()
		o.waiting = nil
	}
}

// conclude sets the outcome of the operation. The first call counts.
func (o *operation) conclude(outcome string) {
	if o == nil || o.over {
		return
	}
	o.over = true
	o.answered(outcome)
	o.span.SetAttributes(attrOutcome.String(outcome))
}

// refused ends the trace of a request if it failed with err.
func (o *operation) refused(err error) {
	if err != nil && o != nil {
		fail(o.span, err)
		o.conclude("refused")
		o.span.End()
	}
}

// replace ends the session's trace and continues with another. e's lock is held.
func (t *tracer) replace(e *entry, o *operation) {
	e.operation.conclude("replaced")
	t.close(e)
	e.operation = o
}

// close ends the session's trace if its outcome is set. e's lock is held.
func (t *tracer) close(e *entry) {
	if e.operation != nil && e.operation.over {
		e.operation.span.End()
		e.operation = nil
	}
}

// observeValue adds a value to a histogram, with the operation's trace as its exemplar.
func (o *operation) observeValue(h prometheus.Histogram, value float64) {
	if o != nil && o.span.IsRecording() && o.span.SpanContext().IsSampled() {
		if h, ok := h.(prometheus.ExemplarObserver); ok {
			h.ObserveWithExemplar(value, prometheus.Labels{"trace_id": o.span.SpanContext().TraceID().String()})
			return
		}
	}
	h.Observe(value)
}
