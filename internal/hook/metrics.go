package hook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"refresher/internal/histogram"
	"refresher/internal/session"
)

// result is a request's outcome as a metric label.
type result string

const (
	ok        result = "ok"        // the event was delivered, or the batch has decisions
	refused   result = "refused"   // the endpoint answered with an unexpected status
	malformed result = "malformed" // the status is 200, but the body has no valid decision
	failed    result = "failed"    // there was no answer, or only a part of the answer to a batch
)

// eventMetrics counts events by type and outcome ("delivered" or "dropped"), and attempts by result.
type eventMetrics struct {
	events, attempts *prometheus.CounterVec
	delivery         prometheus.Histogram
}

// newEventMetrics registers the metrics. The function `queued` returns the number of pending events.
func newEventMetrics(r prometheus.Registerer, queued func() float64) *eventMetrics {
	auto := promauto.With(r)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_events_queued",
		Help: "Events that are neither delivered nor dropped yet.",
	}, queued)
	m := &eventMetrics{
		events: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_events_total",
			Help: "Events for your back end, by type and outcome: delivered, or dropped (queue full, too old, 410 Gone).",
		}, []string{"type", "outcome"}),
		attempts: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_events_attempts_total",
			Help: "Attempts to deliver an event, by outcome: ok, refused by an answer other than 2xx, failed without an answer.",
		}, []string{"outcome"}),
		delivery: auto.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_events_delivery_seconds",
			Help:    "Time from an event to its delivery.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
		})),
	}
	for _, o := range []result{ok, refused, failed} {
		m.attempts.WithLabelValues(string(o))
	}
	for _, t := range session.EventTypes() {
		m.events.WithLabelValues(string(t), "delivered")
		m.events.WithLabelValues(string(t), "dropped")
	}
	return m
}

type approvalMetrics struct {
	seconds  *prometheus.HistogramVec
	requests *prometheus.CounterVec
}

// newApprovalMetrics registers the metrics. The function `waiting` returns the number of waiting calls of Request;
// `open` reports whether the circuit is open.
func newApprovalMetrics(r prometheus.Registerer, waiting func() int64, open func() bool) *approvalMetrics {
	auto := promauto.With(r)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_authorize_waiting",
		Help: "Approval requests that wait to be sent or answered.",
	}, func() float64 { return float64(waiting()) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_authorize_circuit_open",
		Help: "1 while the circuit breaker for the approval endpoint is open, else 0.",
	}, func() float64 {
		if open() {
			return 1
		}
		return 0
	})
	m := &approvalMetrics{
		seconds: auto.NewHistogramVec(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_authorize_seconds",
			Help:    "Duration of an approval request, by outcome: allowed, denied, or failed. A request has failed if there was no valid decision in time.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30},
		}), []string{"outcome"}),
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_authorize_requests_total",
			Help: "HTTP requests to the approval endpoint, by outcome: ok, refused by a status other than 200, malformed answer, failed without an answer.",
		}, []string{"outcome"}),
	}
	for _, o := range []string{"allowed", "denied", "failed"} {
		m.seconds.WithLabelValues(o)
	}
	for _, o := range []result{ok, refused, malformed, failed} {
		m.requests.WithLabelValues(string(o))
	}
	return m
}

// asked counts a finished call of Request by its outcome.
func (m *approvalMetrics) asked(a Answer, err error, after time.Duration) {
	o := "denied"
	switch {
	case err != nil:
		o = "failed"
	case a.Allow:
		o = "allowed"
	}
	m.seconds.WithLabelValues(o).Observe(after.Seconds())
}
