package app

import (
	"io"
	"net/http"
	"net/http/pprof"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health is what the probes report.
type health struct {
	draining atomic.Bool
	informed func() bool // it is known what was revoked
	degraded func() bool // the store cannot be reached
}

// newRegistry is a registry with the collectors of the runtime and the process.
// The default registry of client_golang stays unused.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return r
}

// newMetrics serves what a registry holds.
func newMetrics(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r})
}

// newOps is the handler of the operations port.
func newOps(metrics http.Handler, h *health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case h.draining.Load():
			say(w, http.StatusServiceUnavailable, "draining")
		case !h.informed():
			say(w, http.StatusServiceUnavailable, "starting: what was revoked has not been read from the store yet")
		case h.degraded(): // a node without its store serves better than no node
			say(w, http.StatusOK, "ready, degraded: the store cannot be reached")
		default:
			say(w, http.StatusOK, "ready")
		}
	})
	// No /debug/pprof/cmdline: a certificate may have been given as a flag.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a prober that is gone needs no answer
}
