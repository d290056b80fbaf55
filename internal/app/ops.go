package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"refresher/internal/build"
	"refresher/internal/origin"
)

// health is what the probes report.
type health struct {
	draining atomic.Bool
	informed func() bool          // it is known what was revoked
	hasKeys  func() bool          // credentials can be checked
	keysBy   time.Time            // when it does without
	degraded func() bool          // the store cannot be reached
	works    func() error         // nil, or why the node could not renew in time
	still    func() time.Duration // for how long renewals stand still
}

// deadAfter is for how long renewals may stand still before the node counts as one that
// does not work, and is to be restarted. It is not ready long before; what lasts minutes
// does not end by itself. Tokens that cannot be minted, or a store that is away, are
// mended by no restart.
const deadAfter = 2 * time.Minute

// alive is whether the process works, and what there is to say of it.
func (h *health) alive() (bool, string) {
	if still := h.still(); still > deadAfter {
		return false, fmt.Sprintf("renewals stand still, for %.0f s", still.Seconds())
	}
	return true, "ok"
}

// keysPatience is how long a node that starts waits for its first key set, so that
// nobody is sent to it too early. When no node can fetch one, those who come back to
// their calls must be let in all the same, and they need no keys.
const keysPatience = 30 * time.Second

// ready is whether the node takes calls, and what there is to say of it.
func (h *health) ready() (bool, string) {
	switch err := h.works(); {
	case h.draining.Load():
		return false, "draining"
	case !h.informed():
		return false, "starting: what was revoked has not been read from the store yet"
	case !h.hasKeys() && time.Now().Before(h.keysBy):
		return false, "starting: no key set has been fetched yet"
	case err != nil: // another node would serve better
		return false, err.Error()
	case h.degraded(): // a node without its store serves better than no node
		return true, "ready, degraded: the store cannot be reached"
	case !h.hasKeys():
		return true, "ready, degraded: no key set has been fetched, so nobody new gets in"
	default:
		return true, "ready"
	}
}

// takesCalls reports whether the node is ready, without the reason.
func (h *health) takesCalls() bool {
	ready, _ := h.ready()
	return ready
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

// newMetrics serves what a registry holds; exemplars to those who ask for
// OpenMetrics, native histograms to those who ask for protocol buffers.
func newMetrics(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r, EnableOpenMetrics: true})
}

// registerNode registers what the node says of itself.
func registerNode(r prometheus.Registerer, c Config, h *health) {
	version := build.Info()
	about := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_build_info",
		Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{
			"version": version.Version, "revision": version.Revision, "go_version": version.GoVersion,
		},
	})
	about.Set(1)
	limit := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "refresher_session_limit",
		Help: "How many sessions the node takes, by --max-sessions. 0: as many as come.",
	})
	limit.Set(float64(c.MaxSessions))
	if c.LogDropped != nil {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "refresher_log_lines_dropped_total",
			Help: "Lines of the log that were lost, since its reader was away, stopped or full.",
		}, func() float64 { return float64(c.LogDropped()) }))
	}
	r.MustRegister(about, limit, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_ready",
		Help: "1 while the node takes calls, as /readyz says it, else 0.",
	}, func() float64 {
		if h.takesCalls() {
			return 1
		}
		return 0
	}))
}

// newOps is the handler of the operations port.
func newOps(metrics http.Handler, h *health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, h.alive, http.StatusInternalServerError)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, h.ready, http.StatusServiceUnavailable)
	})
	// No /debug/pprof/cmdline: a certificate may have been given as a flag.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// onlyLocalhost refuses requests that are addressed to anything but this machine by
// a name of its own: they come from web pages whose host name was made to resolve
// to it (DNS rebinding).
func onlyLocalhost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !origin.AddressesLoopback(r.Host) {
			http.Error(w, "this port listens on loopback, and serves only requests addressed to localhost", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// report answers a probe; otherwise is the status where it is not well.
func report(w http.ResponseWriter, check func() (bool, string), otherwise int) {
	status := http.StatusOK
	well, text := check()
	if !well {
		status = otherwise
	}
	say(w, status, text)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a prober that is gone needs no answer
}
