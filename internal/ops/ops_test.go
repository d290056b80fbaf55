package ops

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
)

// A node that starts without a key set is not ready for keysPatience, and ready after that.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched, informed := true, false
		h := New(Config{
			Degraded: func() bool { return false }, Informed: func() bool { return informed }, Works: func() error { return nil },
			HasKeys: func() bool { return fetched }, Registerer: prometheus.NewRegistry(),
		})
		want := func(ready bool, text string) {
			t.Helper()
			if got, said := h.ready(); got != ready || !strings.HasPrefix(said, text) {
				t.Errorf("after %v: %v, %s", keysPatience-time.Until(h.keysBy), got, said)
			}
		}
		want(false, "starting: the revocations have not been loaded")
		informed = true
		want(true, "ready")
		fetched = false
		time.Sleep(keysPatience - 1) // bubble
		want(false, "starting: no key set")
		time.Sleep(time.Nanosecond) // bubble
		want(true, "ready, degraded: no key set")
		h.Drain()
		want(false, "draining")
	})
}

// /healthz fails once renewals have made no progress for deadAfter. It succeeds while the node drains, cannot
// mint, or cannot reach the store.
func TestAlive(t *testing.T) {
	var still time.Duration
	h := New(Config{
		Degraded: func() bool { return true }, Informed: func() bool { return false }, HasKeys: func() bool { return false },
		Works: func() error { return errors.New("tokens cannot be minted") }, Still: func() time.Duration { return still },
		Registerer: prometheus.NewRegistry(),
	})
	h.Drain()
	for _, c := range []struct {
		still  time.Duration
		status int
		text   string
	}{
		{deadAfter, http.StatusOK, "ok\n"},
		{deadAfter + time.Second, http.StatusInternalServerError, "no renewal for 121 s\n"},
		{0, http.StatusOK, "ok\n"},
	} {
		still = c.still
		w := httptest.NewRecorder()
		h.Handler(http.NotFoundHandler(), false).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
		if w.Code != c.status || w.Body.String() != c.text {
			t.Errorf("after %v: %d %q, want %d %q", c.still, w.Code, w.Body, c.status, c.text)
		}
	}
}

// The operations port needs no credentials. On loopback it therefore refuses requests from web pages whose host name
// was made to resolve to this machine (DNS rebinding).
func TestLoopbackServesOnlyLocalhost(t *testing.T) {
	h := New(Config{Registerer: prometheus.NewRegistry(), Still: func() time.Duration { return 0 }})
	handler := h.Handler(http.NotFoundHandler(), true)
	for host, want := range map[string]int{
		"localhost": http.StatusOK, "127.0.0.1:9090": http.StatusOK, "[::1]:9090": http.StatusOK,
		"":             http.StatusOK, // load balancers send HTTP/1.0 checks without a Host header; browsers always send the header
		"evil.example": http.StatusMisdirectedRequest, "evil.example:9090": http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody)
		r.Host = host
		if handler.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}

func TestHistogramsAreClassicAndNative(t *testing.T) {
	r := prometheus.NewRegistry()
	h := prometheus.NewHistogram(histogram.Opts(prometheus.HistogramOpts{Name: "test", Buckets: []float64{1, 2}}))
	r.MustRegister(h)
	h.Observe(1)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got := families[0].GetMetric()[0].GetHistogram(); len(got.GetBucket()) != 2 || len(got.GetPositiveSpan()) != 1 {
		t.Error(got)
	}
}
