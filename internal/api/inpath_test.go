package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"refresher/internal/origin"
	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brokenGate panics when it is shown a credential.
type brokenGate struct{ Gate }

func (brokenGate) Address(*http.Request) netip.Addr { return netip.Addr{} }
func (brokenGate) Wait(netip.Addr) time.Duration    { return 0 }
func (brokenGate) Identify(string) (session.Caller, error) {
	panic("the gate broke")
}

// TestPanicKeepsTheCredentialInThePath: a panic, with all that the HTTP server writes
// of it, does not show the credential.
func TestPanicKeepsTheCredentialInThePath(t *testing.T) {
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	origins, err := origin.New(origin.Config{Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{
		Minter: struct{ Minter }{}, Renewer: struct{ Renewer }{}, Gate: brokenGate{}, Sessions: struct{ store.Lister }{},
		Orders: struct{ Orders }{}, Cursors: struct{ Cursors }{}, Inspect: func(string, string, Use) (any, error) { return nil, nil },
		Logger: logger, Origins: origins, Registerer: prometheus.NewRegistry(), WebSocket: http.NotFoundHandler(), Ready: func() bool { return true },
		CredentialInPath: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(a)
	s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&logged, nil), slog.LevelWarn)
	s.Start()
	if response, err := s.Client().Get(s.URL + "/with/aSecretCredential/rtc/c/publisher/uid/1"); err == nil {
		response.Body.Close()
		t.Errorf("answered with %d", response.StatusCode)
	}
	s.Close() // what it logs is there now
	if text := logged.String(); !strings.Contains(text, "the gate broke") || strings.Contains(text, "aSecretCredential") {
		t.Errorf("logged %s", text)
	}
}
