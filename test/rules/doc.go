// Package rules holds the alerts in deploy/prometheus against Prometheus's own
// tool, docs/operate/metrics.md and the runbook in docs/operate/runbook.md.
//
// The tests with promtool have the build tag "programs".
package rules
