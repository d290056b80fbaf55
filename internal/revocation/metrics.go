package revocation

import "github.com/prometheus/client_golang/prometheus"

// collector reads from the set, at each scrape, how many revocations it holds.
type collector struct {
	set               *Set
	standing, unsaved *prometheus.Desc
}

func newCollector(s *Set) *collector {
	return &collector{
		set: s,
		standing: prometheus.NewDesc("refresher_revocations",
			"Standing revocations, as far as this node knows.", nil, nil),
		unsaved: prometheus.NewDesc("refresher_revocations_unsaved",
			"Revocations and lifts that the store does not have yet.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.standing
	ch <- c.unsaved
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.set
	standing := 0
	s.mu.RLock()
	for _, p := range s.projects {
		standing += len(p.byID)
	}
	unsaved := len(s.unsaved)
	s.mu.RUnlock()
	ch <- prometheus.MustNewConstMetric(c.standing, prometheus.GaugeValue, float64(standing))
	ch <- prometheus.MustNewConstMetric(c.unsaved, prometheus.GaugeValue, float64(unsaved))
}
