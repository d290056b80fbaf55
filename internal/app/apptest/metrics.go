package apptest

import (
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Metrics are the values of the node's counters and gauges: summed up by name, and each
// by its name and labels as they stand in /metrics.
//
// They are read from the node's registry, which has no collector of the runtime or the
// process. Tests read them after each of thousands of requests, and a scrape of /metrics
// cost half of such a test's CPU time.
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
			value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() // it is one of them
			sums[name] += value
			if labels := metric.GetLabel(); len(labels) > 0 {
				sums[name+"{"+labelText(labels)+"}"] += value
			}
		}
	}
	return sums
}

// labelText writes labels as in /metrics.
func labelText(labels []*dto.LabelPair) string {
	texts := make([]string, len(labels))
	for i, label := range labels {
		texts[i] = label.GetName() + "=" + strconv.Quote(label.GetValue())
	}
	return strings.Join(texts, ",")
}
