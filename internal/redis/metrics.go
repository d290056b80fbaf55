package redis

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
	"refresher/internal/session"
	"refresher/internal/store"
)

type metrics struct {
	took   *prometheus.HistogramVec
	failed *prometheus.CounterVec
	offset prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		took: prometheus.NewHistogramVec(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_store_operation_seconds",
			Help:    "Duration of store operations: acquire (a resume), save (a batch of changes), wish (an operator's change of a session), sweep (leases), claim (overdue sessions), list (a page of sessions, or one session), nodes (the nodes' statuses), revocations.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}), []string{"operation"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_store_errors_total",
			Help: "Store operations that failed or had no answer.",
		}, []string{"operation"}),
		offset: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "refresher_store_clock_offset_seconds",
			Help: "How far Redis's clock is ahead of this node's clock, measured by the last sweep; its error is at most the duration of that sweep.",
		}),
	}
	for _, operation := range []string{"acquire", "save", "wish", "sweep", "claim", "list", "nodes", "revocations"} {
		m.took.WithLabelValues(operation)
		m.failed.WithLabelValues(operation)
	}
	r.MustRegister(m.took, m.failed, m.offset)
	return m
}

// observe records the duration of a finished operation, and whether it failed. Some errors
// are answers, not failures: the session has ended, does not exist or cannot be read, or the
// store has no room for a revocation.
func (m *metrics) observe(operation string, began time.Time, err *error) {
	m.took.WithLabelValues(operation).Observe(time.Since(began).Seconds())
	if *err == nil || errors.Is(*err, store.ErrUnreadable) || errors.Is(*err, store.ErrNoSession) || errors.Is(*err, store.ErrRevocationsFull) {
		return
	}
	if _, ended := errors.AsType[*session.EndedError](*err); !ended {
		m.failed.WithLabelValues(operation).Inc()
	}
}
