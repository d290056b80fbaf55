package ops

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"refresher/internal/build"
)

// NewRegistry returns a registry with the metrics of the Go runtime and the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return r
}

// Metrics returns a handler that serves a registry's metrics: exemplars in the OpenMetrics format, native
// histograms in the protobuf format.
func Metrics(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r, EnableOpenMetrics: true})
}

// register registers the metrics of the node's health.
func (h *Health) register() {
	version := build.Info()
	about := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_build_info",
		Help: "Always 1; the labels identify the build.",
		ConstLabels: prometheus.Labels{
			"version": version.Version, "revision": version.Revision, "go_version": version.GoVersion,
		},
	})
	about.Set(1)
	limit := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_session_limit",
		Help: "The value of --max-sessions; 0 if the number of sessions is not limited.",
	})
	limit.Set(float64(h.config.MaxSessions))
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_ready",
		Help: "1 while the node takes calls (/readyz answers 200), else 0.",
	}, func() float64 {
		if h.Ready() {
			return 1
		}
		return 0
	})
	h.config.Registerer.MustRegister(about, limit, ready)
	if dropped := h.config.LogDropped; dropped != nil {
		h.config.Registerer.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "refresher_log_lines_dropped_total",
			Help: "Log lines that were lost, since the program that reads the log had stopped or its disk was full.",
		}, func() float64 { return float64(dropped()) }))
	}
}
