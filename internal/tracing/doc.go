// Package tracing sends traces to an OpenTelemetry collector, if the standard
// OTEL_ variables of the environment ask for it. It knows how they are sent, and
// nothing of what is traced: that is the affair of the packages that are handed
// the tracer.
package tracing
