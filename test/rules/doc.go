// Package rules holds the alerts in deploy/prometheus against Prometheus's own
// tool, docs/metrics.md and the runbook in docs/operations.md.
//
// The tests with promtool have the build tag "programs".
package rules
