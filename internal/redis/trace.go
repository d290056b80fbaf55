package redis

import (
	"context"
	"errors"
	"net"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// tracing is a hook that makes a span for each exchange with a Redis server, if the exchange
// belongs to a trace. A sweep, for example, belongs to no trace, so it gets no spans. Spans contain
// neither keys nor values.
type tracing struct{}

func (tracing) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, span := beginSpan(ctx, "redis dial", 0)
		conn, err := next(ctx, network, address)
		endSpan(span, err)
		return conn, err
	}
}

func (tracing) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		ctx, span := beginSpan(ctx, "redis "+cmd.Name(), 1)
		err := next(ctx, cmd)
		endSpan(span, err)
		return err
	}
}

func (tracing) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		ctx, span := beginSpan(ctx, "redis pipeline", len(cmds))
		err := next(ctx, cmds)
		endSpan(span, err)
		return err
	}
}

// beginSpan begins a span under the span of ctx, if that span is recorded; otherwise it
// returns a nil span.
func beginSpan(ctx context.Context, name string, commands int) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, nil
	}
	return parent.TracerProvider().Tracer("refresher/internal/redis").Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "redis"), attribute.Int("db.operation.batch.size", commands)))
}

// endSpan ends the span that beginSpan returned, which may be nil. If a server answered with
// an error, the span gets only the first word of the error, such as OOM, since the rest may
// quote an argument.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil && !errors.Is(err, goredis.Nil) {
		kind := "no answer"
		if answer, ok := errors.AsType[goredis.Error](err); ok {
			kind, _, _ = strings.Cut(answer.Error(), " ")
		}
		span.SetStatus(codes.Error, kind)
	}
	span.End()
}
