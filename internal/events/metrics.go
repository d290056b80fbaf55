package events

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
	"refresher/internal/session"
)

type metrics struct {
	events   *prometheus.CounterVec
	delivery prometheus.Histogram
	attempts struct{ ok, refused, failed prometheus.Counter }
}

// newMetrics registers the metrics. queued tells how many events are not
// settled yet.
func newMetrics(r prometheus.Registerer, queued func() float64) *metrics {
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_events_attempts_total",
		Help: "Attempts to deliver an event, by outcome: ok, refused by an answer other than 2xx, failed without an answer.",
	}, []string{"outcome"})
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_events_total",
			Help: "Events for the customer's back end, by type and by what became of them: delivered, or dropped (queue full, too old, 410 Gone).",
		}, []string{"type", "outcome"}),
		delivery: prometheus.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_events_delivery_seconds",
			Help:    "Time from an event to its delivery.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
		})),
	}
	m.attempts.ok = attempts.WithLabelValues("ok")
	m.attempts.refused = attempts.WithLabelValues("refused")
	m.attempts.failed = attempts.WithLabelValues("failed")
	for _, t := range session.EventTypes() {
		m.events.WithLabelValues(string(t), "delivered")
		m.events.WithLabelValues(string(t), "dropped")
	}
	r.MustRegister(m.events, m.delivery, attempts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_events_queued",
		Help: "Events that are neither delivered nor dropped yet.",
	}, queued))
	return m
}

// attempted counts what came of one attempt.
func (m *metrics) attempted(a answer) {
	switch {
	case a.err != nil:
		m.attempts.failed.Inc()
	case a.delivered():
		m.attempts.ok.Inc()
	default:
		m.attempts.refused.Inc()
	}
}

func (m *metrics) delivered(t session.EventType, after time.Duration) {
	m.events.WithLabelValues(string(t), "delivered").Inc()
	m.delivery.Observe(after.Seconds())
}

func (m *metrics) dropped(t session.EventType) { m.events.WithLabelValues(string(t), "dropped").Inc() }
