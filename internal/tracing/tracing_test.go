package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"refresher/test/collector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wantURL = "want a URL with http:// or https:// and a host, such as http://127.0.0.1:4318"

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
		fail string
	}{
		{nil, "", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "http/protobuf", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, "", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http/protobuf", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "http/protobuf", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "http/protobuf", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "unix:///run/c.sock", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc", ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "TraceIDRatio", "OTEL_TRACES_SAMPLER_ARG": " 0.1 "}, "http/protobuf", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "whatever"}, "http/protobuf", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_TRACES_SAMPLER": "always"}, "", ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always"}, "", `OTEL_TRACES_SAMPLER: want always_on, always_off or traceidratio, or one of them after parentbased_; have "always"`},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"}, "", `OTEL_TRACES_SAMPLER_ARG: want a share of the traces, 0 to 1; have "10%"`},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10"}, "", `OTEL_TRACES_SAMPLER_ARG: want a share of the traces, 0 to 1; have "10"`},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT: " + wantURL},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT: " + wantURL},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https:///v1/traces"}, "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: " + wantURL},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "OTEL_EXPORTER_OTLP_ENDPOINT: " + wantURL},
		{map[string]string{"OTEL_TRACES_EXPORTER": "jaeger"}, "", `OTEL_TRACES_EXPORTER: want "otlp" or "none"; have "jaeger"`},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "", `OTEL_EXPORTER_OTLP_PROTOCOL: want "http/protobuf" or "grpc"; have "http/json"`},
	} {
		got, err := wanted(func(name string) string { return c.env[name] })
		if c.fail == "" && got != c.want || (err == nil) != (c.fail == "") || err != nil && err.Error() != c.fail {
			t.Errorf("%v: %q, %v", c.env, got, err)
		}
	}
}

func TestOffByDefault(t *testing.T) {
	p, err := New(t.Context(), Config{Logger: slog.New(slog.DiscardHandler)})
	if p != nil || err != nil {
		t.Fatal(p, err)
	}
	if p.Tracer() != nil {
		t.Error("there is a tracer")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTracesReachACollector(t *testing.T) {
	c := collector.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	p, err := New(t.Context(), Config{Version: "v1.2.3", Node: "n-1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer().Start(context.Background(), "renewal")
	span.End()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.Resources()) != 1 || len(c.Spans()) != 1 || c.Spans()[0].Name != "renewal" {
		t.Fatalf("%v %v", c.Resources(), c.Spans())
	}
	got := c.Resources()[0]
	maps.DeleteFunc(got, func(key, _ string) bool { return strings.HasPrefix(key, "telemetry.") })
	want := map[string]string{
		"service.name": "refresher", "service.version": "v1.2.3", "service.instance.id": "n-1", "deployment.environment.name": "test",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheEnvironmentHasTheLastWord(t *testing.T) {
	c := collector.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.URL+"/v1/traces")
	t.Setenv("OTEL_SERVICE_NAME", "calls")
	t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
	p, err := New(t.Context(), Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const began = 1000
	for range began {
		_, span := p.Tracer().Start(context.Background(), "renewal")
		span.End()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Spans()); n < began/4 || n > began*3/4 {
		t.Errorf("%d spans of %d", n, began)
	}
	if name := c.Resources()[0]["service.name"]; name != "calls" {
		t.Error(name)
	}
}

func TestGRPC(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	p, err := New(t.Context(), Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil { // Close succeeds, since no spans are left to send
		t.Error(err)
	}
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
		if n := strings.Count(log.String(), "traces are lost"); n != 3 {
			t.Errorf("%d lines:\n%s", n, &log)
		}
	})
}

// The OpenTelemetry SDK's errors are written to the log and not to the terminal.
func TestComplaintsOfTheSDK(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	p, err := New(t.Context(), Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	otel.Handle(errors.New("connection refused"))
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "connection refused") {
		t.Error(log.String())
	}
}

// A setting that the SDK ignores is logged, without its value.
func TestSettingsThatTheSDKLeavesOut(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "hush-hush")
	p, err := New(t.Context(), Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "a setting of OpenTelemetry is left out") || !strings.Contains(text, "parse headers") || strings.Contains(text, "hush-hush") {
		t.Error(text)
	}
}

func TestMistakesAreRefused(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	if p, err := New(t.Context(), Config{Logger: slog.New(slog.DiscardHandler)}); err == nil || p != nil {
		t.Error(p, err)
	}
}
