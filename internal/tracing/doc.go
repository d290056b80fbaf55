// Package tracing sends traces to an OpenTelemetry collector, if the standard OTEL_ environment
// variables ask for it. Other packages get the tracer and create the spans.
package tracing
