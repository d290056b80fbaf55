// Package rules checks the alerts in deploy/prometheus with Prometheus's own tool, and
// compares them with docs/operate/metrics.md and docs/operate/runbook.md. The tests with
// promtool have the build tag "programs".
package rules
