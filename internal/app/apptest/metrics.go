package apptest

import (
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Metrics returns the values of the node's counters and gauges, keyed by name and labels as in /metrics, and the sum of
// each metric, keyed by name.
//
// It reads the node's registry instead of /metrics, since tests call it after each of thousands of requests, and
// scrapes took half of such a test's CPU time. Unlike /metrics, the registry has no metrics of the Go runtime and the
// process.
func (g *LoggedNode) Metrics() map[string]float64 {
	g.T.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.T.Fatal(err)
	}
	sums := make(map[string]float64)
	for _, family := range families {
		name := family.GetName()
		for _, metric := range family.GetMetric() {
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() // a metric is a counter or a gauge, so one of the two values is 0
			sums[name] += value
			if labels := metric.GetLabel(); len(labels) > 0 {
				sums[name+"{"+labelText(labels)+"}"] += value
			}
		}
	}
	return sums
}

// labelText formats labels as in /metrics.
func labelText(labels []*dto.LabelPair) string {
	texts := make([]string, len(labels))
	for i, label := range labels {
		texts[i] = label.GetName() + "=" + strconv.Quote(label.GetValue())
	}
	return strings.Join(texts, ",")
}
