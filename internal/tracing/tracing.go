package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says who traces.
type Config struct {
	// Version is that of the service, Node the name of this process.
	Version, Node string
	Logger        *slog.Logger
}

// Provider sends traces. A nil Provider sends none, and its tracer is nil.
type Provider struct{ sdk *sdk.TracerProvider }

// New makes a Provider as the environment has it, or nil if that asks for none:
// tracing is on where OTEL_TRACES_EXPORTER is "otlp", or where it is not set but
// an endpoint is. Everything else (endpoint, headers, TLS, sampler, batches,
// resource) is read by the SDK, see the OpenTelemetry specification.
func New(ctx context.Context, c Config) (*Provider, error) {
	exporter, err := wanted(os.Getenv)
	if err != nil || exporter == "" {
		return nil, err
	}
	// The SDK has one handler of errors for the whole process.
	otel.SetErrorHandler(&complaints{logger: c.Logger})
	var out sdk.SpanExporter
	switch exporter {
	case "grpc":
		out, err = otlptracegrpc.New(ctx)
	default:
		out, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", "refresher"),
			attribute.String("service.version", c.Version),
			attribute.String("service.instance.id", c.Node),
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // has the last word
	)
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	c.Logger.Info("tracing", "protocol", exporter)
	return &Provider{sdk.NewTracerProvider(sdk.WithBatcher(out), sdk.WithResource(about))}, nil
}

// wanted is the protocol to send traces by, or nothing.
func wanted(env func(string) string) (string, error) {
	first := func(names ...string) (value string) {
		for _, name := range names {
			if value = strings.TrimSpace(env(name)); value != "" {
				break
			}
		}
		return value
	}
	exporter := first("OTEL_TRACES_EXPORTER")
	switch {
	case strings.EqualFold(first("OTEL_SDK_DISABLED"), "true"), exporter == "none":
		return "", nil
	case exporter == "" && first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") == "":
		return "", nil
	case exporter != "" && exporter != "otlp":
		return "", fmt.Errorf(`OTEL_TRACES_EXPORTER: want "otlp" or "none"; have %q`, exporter)
	}
	switch protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol {
	case "", "http/protobuf":
		return "http/protobuf", nil
	case "grpc":
		return protocol, nil
	default:
		return "", fmt.Errorf(`OTEL_EXPORTER_OTLP_PROTOCOL: want "http/protobuf" or "grpc"; have %q`, protocol)
	}
}

// Tracer is what makes the spans; nil if there are to be none.
func (p *Provider) Tracer() trace.Tracer {
	if p == nil {
		return nil
	}
	return p.sdk.Tracer("refresher")
}

// Close sends what is left, until ctx is done.
func (p *Provider) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if err := p.sdk.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}

// complaints logs what the SDK complains of, once a minute at most: a collector
// that is away is complained of with every batch.
type complaints struct {
	logger *slog.Logger
	next   atomic.Int64 // Unix ns
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now := time.Now()
	next := c.next.Load()
	if now.UnixNano() >= next && c.next.CompareAndSwap(next, now.Add(time.Minute).UnixNano()) {
		c.logger.Warn("traces are lost; calls are not touched", "error", err)
	}
}
