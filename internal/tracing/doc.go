// Package tracing sends traces to an OpenTelemetry collector if the standard OTEL_ environment variables
// enable it. It provides the tracer; other packages create the spans.
package tracing
