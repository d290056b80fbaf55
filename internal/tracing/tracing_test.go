package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"refresher/test/collector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWanted(t *testing.T) {
	const (
		web     = "http/protobuf"
		wantURL = ": want a URL with http:// or https:// and a host, such as http://127.0.0.1:4318"
	)
	for env, want := range map[string]struct{ protocol, err string }{
		"": {"", ""},
		"TRACES_EXPORTER=none EXPORTER_OTLP_ENDPOINT=http://c:4318":                                    {"", ""},
		"TRACES_EXPORTER=none TRACES_SAMPLER=always":                                                   {"", ""},
		"TRACES_EXPORTER=otlp":                                                                         {web, ""},
		"TRACES_EXPORTER=otlp SDK_DISABLED=true":                                                       {"", ""},
		"EXPORTER_OTLP_ENDPOINT=http://c:4318":                                                         {web, ""},
		"EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces":                                        {web, ""},
		"TRACES_EXPORTER=otlp EXPORTER_OTLP_PROTOCOL=grpc":                                             {"grpc", ""},
		"TRACES_EXPORTER=otlp EXPORTER_OTLP_PROTOCOL=grpc EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf": {web, ""},
		"EXPORTER_OTLP_ENDPOINT=unix:///run/c.sock EXPORTER_OTLP_PROTOCOL=grpc":                        {"grpc", ""},
		"TRACES_EXPORTER=otlp TRACES_SAMPLER=TraceIDRatio TRACES_SAMPLER_ARG=1":                        {web, ""},
		"TRACES_EXPORTER=otlp TRACES_SAMPLER=always_off TRACES_SAMPLER_ARG=whatever":                   {web, ""},
		"TRACES_EXPORTER=otlp TRACES_SAMPLER=always":                                                   {"", `OTEL_TRACES_SAMPLER: want always_on, always_off or traceidratio, or one of them after parentbased_; have "always"`},
		"TRACES_EXPORTER=otlp TRACES_SAMPLER=parentbased_traceidratio TRACES_SAMPLER_ARG=10%":          {"", `OTEL_TRACES_SAMPLER_ARG: want a share of the traces, 0 to 1; have "10%"`},
		"TRACES_EXPORTER=otlp TRACES_SAMPLER=traceidratio TRACES_SAMPLER_ARG=10":                       {"", `OTEL_TRACES_SAMPLER_ARG: want a share of the traces, 0 to 1; have "10"`},
		"EXPORTER_OTLP_ENDPOINT=127.0.0.1:4318":                                                        {"", "OTEL_EXPORTER_OTLP_ENDPOINT" + wantURL},
		"EXPORTER_OTLP_ENDPOINT=c:4318":                                                                {"", "OTEL_EXPORTER_OTLP_ENDPOINT" + wantURL},
		"EXPORTER_OTLP_ENDPOINT=http://c:4318 EXPORTER_OTLP_TRACES_ENDPOINT=https:///v1/traces":        {"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" + wantURL},
		"EXPORTER_OTLP_ENDPOINT=127.0.0.1:4317 EXPORTER_OTLP_PROTOCOL=grpc":                            {"", "OTEL_EXPORTER_OTLP_ENDPOINT" + wantURL},
		"TRACES_EXPORTER=jaeger":                                                                       {"", `OTEL_TRACES_EXPORTER: want "otlp" or "none"; have "jaeger"`},
		"TRACES_EXPORTER=otlp EXPORTER_OTLP_PROTOCOL=http/json":                                        {"", `OTEL_EXPORTER_OTLP_PROTOCOL: want "http/protobuf" or "grpc"; have "http/json"`},
	} {
		values := make(map[string]string)
		for setting := range strings.FieldsSeq(env) {
			name, value, _ := strings.Cut(setting, "=")
			values["OTEL_"+name] = " " + value + " "
		}
		protocol, err := wanted(func(name string) string { return values[name] })
		if err == nil && (protocol != want.protocol || want.err != "") || err != nil && err.Error() != want.err {
			t.Errorf("%s: %q, %v", env, protocol, err)
		}
	}
}

// start returns a Provider for the environment, and its log.
func start(t *testing.T, env ...string) (*Provider, *bytes.Buffer) {
	t.Helper()
	for i := 0; i < len(env); i += 2 {
		t.Setenv("OTEL_"+env[i], env[i+1])
	}
	log := &bytes.Buffer{}
	p, err := New(t.Context(), Config{Version: "v1.2.3", Node: "n-1", Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p, log
}

func (p *Provider) end(t *testing.T) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOffByDefault(t *testing.T) {
	p, _ := start(t)
	if p != nil || p.Tracer() != nil {
		t.Error(p)
	}
	p.end(t)
}

func TestMistakesAreRefused(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	if p, err := New(t.Context(), Config{}); err == nil || p != nil {
		t.Error(p, err)
	}
}

// Attributes from the environment override the service's own.
func TestTracesReachACollector(t *testing.T) {
	c := collector.Start(t)
	p, _ := start(t, "EXPORTER_OTLP_ENDPOINT", c.URL, "RESOURCE_ATTRIBUTES", "service.instance.id=calls", "TRACES_SAMPLER", "traceidratio", "TRACES_SAMPLER_ARG", "0.5")
	const began = 1000
	for range began {
		_, span := p.Tracer().Start(context.Background(), "renewal")
		span.End()
	}
	p.end(t)
	if n := len(c.Spans()); n < began/4 || n > began*3/4 {
		t.Errorf("%d spans of %d", n, began)
	}
	for key, want := range map[string]string{"service.name": "refresher", "service.version": "v1.2.3", "service.instance.id": "calls"} {
		if got := c.Resources()[0][key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

func TestGRPC(t *testing.T) {
	p, _ := start(t, "EXPORTER_OTLP_PROTOCOL", "grpc", "EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	p.end(t) // no collector listens, but the Provider has no spans to send, so it can end without an error
}

// While the collector is unreachable, at most one line a minute is logged.
func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &complaints{logger: slog.New(slog.NewTextHandler(&log, nil))}
		for range 180 {
			c.Handle(errors.New("connection refused"))
			time.Sleep(time.Second) // bubble
		}
		if n := strings.Count(log.String(), "traces cannot be exported"); n != 3 {
			t.Errorf("%d lines:\n%s", n, &log)
		}
	})
}

// The OpenTelemetry SDK's errors are written to the log and not to the terminal. A setting that the SDK ignores is
// logged without its value.
func TestComplaintsOfTheSDK(t *testing.T) {
	p, log := start(t, "TRACES_EXPORTER", "otlp", "EXPORTER_OTLP_HEADERS", "hush-hush")
	otel.Handle(errors.New("connection refused"))
	p.end(t)
	for _, want := range []string{"connection refused", "an OpenTelemetry setting is invalid and ignored", "parse headers"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	if strings.Contains(log.String(), "hush-hush") {
		t.Error(log)
	}
}
