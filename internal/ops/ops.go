// Package ops serves the operations port: probes, metrics and profiles.
package ops

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/origin"
)

const (
	// deadAfter is how long renewals may make no progress before /healthz fails, so that the process is
	// restarted. /readyz fails much sooner. /healthz checks nothing else: a restart does not help if tokens
	// cannot be minted or the store is unreachable.
	deadAfter = 2 * time.Minute
	// keysPatience is how long a starting node without a key set is not ready. After that it becomes ready anyway: if
	// no node can fetch a key set, clients with sessions can still resume, for which no key set is needed.
	keysPatience = 30 * time.Second
)

// Config configures a Health.
type Config struct {
	Informed func() bool          // reports whether the revocations have been loaded from the store
	HasKeys  func() bool          // reports whether credentials can be checked
	Degraded func() bool          // reports whether the store is unreachable
	Works    func() error         // returns why the node may fail to renew tokens in time, or nil
	Still    func() time.Duration // returns for how long renewals have made no progress

	MaxSessions int           // --max-sessions
	LogDropped  func() uint64 // returns the number of log lines lost since the start; may be nil
	Registerer  prometheus.Registerer
}

// Health answers the probes. It is safe for concurrent use.
type Health struct {
	config   Config
	keysBy   time.Time // the time from which the node is ready even without a key set
	draining atomic.Bool
}

// New returns a Health and registers its metrics.
func New(c Config) *Health {
	h := &Health{config: c, keysBy: time.Now().Add(keysPatience)}
	h.register()
	return h
}

// Drain makes the node permanently not ready.
func (h *Health) Drain() { h.draining.Store(true) }

// Ready reports whether the node accepts sessions, as /readyz does.
func (h *Health) Ready() bool {
	ready, _ := h.ready()
	return ready
}

// ready reports whether the node accepts sessions, and returns the text of /readyz.
func (h *Health) ready() (bool, string) {
	switch err := h.config.Works(); {
	case h.draining.Load():
		return false, "draining"
	case !h.config.Informed():
		return false, "starting: the revocations have not been loaded from Redis yet"
	case !h.config.HasKeys() && time.Now().Before(h.keysBy):
		return false, "starting: no key set has been fetched yet"
	case err != nil: // not ready, so that new clients connect to another node
		return false, err.Error()
	case h.config.Degraded(): // ready, since for clients a node without its store is better than no node
		return true, "ready, degraded: Redis cannot be reached"
	case !h.config.HasKeys():
		return true, "ready, degraded: no key set has been fetched, so nobody new gets in"
	default:
		return true, "ready"
	}
}

// alive reports whether the process works, and returns the text of /healthz.
func (h *Health) alive() (bool, string) {
	if still := h.config.Still(); still > deadAfter {
		return false, fmt.Sprintf("no renewal for %.0f s", still.Seconds())
	}
	return true, "ok"
}

// Handler returns the handler of the operations port. If the port listens on loopback, the handler refuses requests for
// other hosts. Such requests come from web pages whose host name was made to resolve to this machine (DNS rebinding).
func (h *Health) Handler(metrics http.Handler, loopback bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, h.alive, http.StatusInternalServerError)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		report(w, h.ready, http.StatusServiceUnavailable)
	})
	// /debug/pprof/cmdline is missing on purpose: a flag may contain a certificate.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if !loopback {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !origin.AddressesLoopback(r.Host) {
			http.Error(w, "this port listens on loopback, and serves only requests addressed to localhost", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// report answers a probe with status 200 if the function `check` returns true, and with the status `failure` otherwise.
func report(w http.ResponseWriter, check func() (bool, string), failure int) {
	ok, text := check()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(failure)
	}
	_, _ = io.WriteString(w, text+"\n") // the write fails only if the prober has closed the connection
}
