package authorize

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
)

// outcome is what came of a request, as its metric has it.
type outcome string

const (
	ok        outcome = "ok"        // with decisions
	refused   outcome = "refused"   // another status than 200
	malformed outcome = "malformed" // 200, but no decisions
	failed    outcome = "failed"    // no answer
)

type metrics struct {
	seconds  struct{ allowed, denied, failed prometheus.Observer }
	requests *prometheus.CounterVec
}

// newMetrics registers the metrics. waiting tells how many calls of Ask there
// are, and open whether the endpoint counts as failing.
func newMetrics(r prometheus.Registerer, waiting func() int64, open func() bool) *metrics {
	seconds := prometheus.NewHistogramVec(histogram.Opts(prometheus.HistogramOpts{
		Name:    "refresher_authorize_seconds",
		Help:    "Time from a question whether a session may go on to its answer, by outcome: allowed, denied, or failed without an answer.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30},
	}), []string{"outcome"})
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_authorize_requests_total",
		Help: "Requests to the authorization endpoint, by outcome: ok, refused by a status other than 200, malformed answer, failed without one.",
	}, []string{"outcome"})}
	m.seconds.allowed = seconds.WithLabelValues("allowed")
	m.seconds.denied = seconds.WithLabelValues("denied")
	m.seconds.failed = seconds.WithLabelValues("failed")
	for _, o := range []outcome{ok, refused, malformed, failed} {
		m.requests.WithLabelValues(string(o))
	}
	r.MustRegister(seconds, m.requests, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_authorize_waiting",
		Help: "Questions that wait for their turn or their answer.",
	}, func() float64 { return float64(waiting()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_authorize_circuit_open",
		Help: "1 while the authorization endpoint counts as failing and is hardly asked, else 0.",
	}, func() float64 {
		if open() {
			return 1
		}
		return 0
	}))
	return m
}

// asked counts what came of one call of Ask.
func (m *metrics) asked(a Answer, err error, after time.Duration) {
	switch {
	case err != nil:
		m.seconds.failed.Observe(after.Seconds())
	case a.Allow:
		m.seconds.allowed.Observe(after.Seconds())
	default:
		m.seconds.denied.Observe(after.Seconds())
	}
}

func (m *metrics) requested(o outcome) { m.requests.WithLabelValues(string(o)).Inc() }
