package tracing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config describes this node in its traces.
type Config struct {
	// Version is the service's version; Node is the name of this process.
	Version, Node string
	Logger        *slog.Logger
}

// Provider sends traces. A nil Provider sends none, and its Tracer returns nil.
type Provider struct{ sdk *sdk.TracerProvider }

// New returns a Provider that is configured by the environment, or nil if tracing is off. Tracing is on if
// OTEL_TRACES_EXPORTER is "otlp", or if it is unset and an endpoint is set. The SDK reads all other variables
// (endpoint, headers, TLS, sampler, batches, resource) as the OpenTelemetry specification says. New returns
// an error for an endpoint or sampler that the SDK cannot use, because the SDK would silently use a default.
func New(ctx context.Context, c Config) (*Provider, error) {
	exporter, err := wanted(os.Getenv)
	if err != nil || exporter == "" {
		return nil, err
	}
	// The OpenTelemetry SDK has one error handler and one logger for the whole process, so they are set here and not
	// per Provider.
	otel.SetErrorHandler(&complaints{logger: c.Logger})
	otel.SetLogger(logr.New(misread{logger: c.Logger}))
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
		resource.WithFromEnv(), // this option comes last, so that attributes from the environment override the attributes that this function sets
	)
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	c.Logger.Info("tracing started", "protocol", exporter)
	return &Provider{sdk.NewTracerProvider(sdk.WithBatcher(out), sdk.WithResource(about))}, nil
}

// wanted returns the protocol for sending traces, or "" if tracing is off.
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
	protocol := cmp.Or(first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" && protocol != "grpc" {
		return "", fmt.Errorf(`OTEL_EXPORTER_OTLP_PROTOCOL: want "http/protobuf" or "grpc"; have %q`, protocol)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if endpoint := first(name); endpoint != "" && !reachable(endpoint, protocol) {
			// The error omits the value, which may contain a password.
			return "", fmt.Errorf("%s: want a URL with http:// or https:// and a host, such as http://127.0.0.1:4318", name)
		}
	}
	return protocol, checkSampler(first("OTEL_TRACES_SAMPLER"), first("OTEL_TRACES_SAMPLER_ARG"))
}

// reachable reports whether the SDK can use an endpoint. The endpoint must be a URL with http or https and a host. For
// gRPC, other forms are allowed, too, such as unix:///run/collector.sock.
func reachable(endpoint, protocol string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	if scheme := strings.ToLower(u.Scheme); protocol == "grpc" && scheme != "http" && scheme != "https" {
		return scheme != ""
	}
	return (strings.EqualFold(u.Scheme, "http") || strings.EqualFold(u.Scheme, "https")) && u.Host != ""
}

// checkSampler returns an error for a sampler that the SDK does not know. For such a sampler, the SDK would sample all
// traces.
func checkSampler(name, arg string) error {
	switch strings.ToLower(name) {
	case "", "always_on", "always_off", "parentbased_always_on", "parentbased_always_off":
		return nil
	case "traceidratio", "parentbased_traceidratio":
		if ratio, err := strconv.ParseFloat(arg, 64); arg != "" && (err != nil || !(ratio >= 0 && ratio <= 1)) {
			return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: want a share of the traces, 0 to 1; have %q", arg)
		}
		return nil
	}
	return fmt.Errorf("OTEL_TRACES_SAMPLER: want always_on, always_off or traceidratio, or one of them after parentbased_; have %q", name)
}

// Tracer returns the tracer that creates spans, or nil if tracing is off.
func (p *Provider) Tracer() trace.Tracer {
	if p == nil {
		return nil
	}
	return p.sdk.Tracer("refresher")
}

// Close sends the remaining traces, but stops when ctx is done.
func (p *Provider) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if err := p.sdk.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}
