package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_http_requests_total",
			Help: "Answered HTTP requests of the public port by route and status; in a route, * is a variable part of the path, and other is any unknown path.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_http_request_seconds",
			Help:    "Time from an HTTP request of the public port to its answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}), []string{"route"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

// label returns the route as a metric label, such as "GET /v1/sessions/*".
func (r *route) label() string { return r.method + " /" + strings.Join(r.path, "/") }

// counted is a ResponseWriter that remembers the status.
type counted struct {
	http.ResponseWriter

	route  string
	status int // 0 if no answer was written
}

// WriteHeader implements http.ResponseWriter.
func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// answered counts an answer and records how long it took. It does nothing if the handler wrote no answer, as after a
// WebSocket handshake.
func (m *metrics) answered(c *counted, after time.Duration) {
	if c.status == 0 {
		return
	}
	m.requests.WithLabelValues(c.route, strconv.Itoa(c.status)).Inc()
	m.seconds.WithLabelValues(c.route).Observe(after.Seconds())
}
