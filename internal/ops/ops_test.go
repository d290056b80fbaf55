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
)

// A node that starts without a key set is not ready for keysPatience, and ready after that.
func TestReadyWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched := false
		h := New(Config{
			Degraded: func() bool { return false }, Informed: func() bool { return true }, Works: func() error { return nil },
			HasKeys: func() bool { return fetched }, Registerer: prometheus.NewRegistry(),
		})
		want := func(ready bool, text string) {
			t.Helper()
			if got, said := h.ready(); got != ready || !strings.HasPrefix(said, text) {
				t.Errorf("after %v: %v, %s", keysPatience-time.Until(h.keysBy), got, said)
			}
		}
		want(false, "starting: no key set")
		fetched = true
		want(true, "ready")
		fetched = false
		time.Sleep(keysPatience - 1) // bubble
		want(false, "starting: no key set")
		time.Sleep(time.Nanosecond) // bubble
		want(true, "ready, degraded: no key set")
	})
}

// /healthz fails once renewals have made no progress for deadAfter. It succeeds while the node drains, cannot
// mint, or cannot reach the store.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beaten := time.Now()
		h := New(Config{
			Degraded: func() bool { return true }, Informed: func() bool { return false }, HasKeys: func() bool { return false },
			Works:      func() error { return errors.New("tokens cannot be minted") },
			Still:      func() time.Duration { return time.Since(beaten) },
			Registerer: prometheus.NewRegistry(),
		})
		h.Drain()
		ops := h.Handler(http.NotFoundHandler(), false)
		want := func(status int, text string) {
			t.Helper()
			w := httptest.NewRecorder()
			ops.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
			if w.Code != status || w.Body.String() != text {
				t.Errorf("after %v: %d %q, want %d %q", time.Since(beaten), w.Code, w.Body, status, text)
			}
		}
		want(http.StatusOK, "ok\n")
		time.Sleep(deadAfter) // bubble
		want(http.StatusOK, "ok\n")
		time.Sleep(time.Second) // bubble
		want(http.StatusInternalServerError, "renewals stand still, for 121 s\n")
		beaten = time.Now()
		want(http.StatusOK, "ok\n")
	})
}
