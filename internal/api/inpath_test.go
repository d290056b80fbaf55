package api

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/origin"
	"refresher/internal/rotation"
	"refresher/internal/store"
)

// brokenAccess panics with the whole URL of the request.
type brokenAccess struct{ Access }

func (brokenAccess) ClientAddr(r *http.Request) netip.Addr {
	panic("access broke at " + r.RequestURI + " " + r.URL.String() + " " + r.URL.RawPath)
}

// config returns the Config of an API whose parts panic when they are used.
func config(t *testing.T) Config {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	origins, err := origin.New(origin.Config{Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Minter: struct{ Minter }{}, Clients: struct{ Clients }{}, Access: open{}, Sessions: struct{ store.Lister }{},
		Wishes: struct{ Wishes }{}, Revocations: struct{ Revocations }{}, Cursors: struct{ Cursors }{}, Inspect: func(string, agora.Use) agora.Report { return agora.Report{} },
		Certificates: func(context.Context, string) (rotation.Report, error) { return rotation.Report{}, nil },
		Logger:       logger, Origins: origins, Registerer: prometheus.NewRegistry(), WebSocket: http.NotFoundHandler(), Ready: func() bool { return true },
	}
}

// open admits every address.
type open struct{ Access }

func (open) RateLimit(netip.Addr) time.Duration  { return 0 }
func (open) ClientAddr(*http.Request) netip.Addr { return netip.Addr{} }

// If a request has its credential in the path, the request that handlers see, and that the HTTP server logs after a
// panic, does not contain the credential.
func TestPanicKeepsTheCredentialInThePath(t *testing.T) {
	var logged bytes.Buffer
	c := config(t)
	c.Access, c.CredentialInPath = brokenAccess{}, true
	c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, err := New(c)
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
	s.Close() // after Close the server has written its log
	if text := logged.String(); !strings.Contains(text, "access broke") || strings.Contains(text, "aSecretCredential") {
		t.Errorf("logged %s", text)
	}
}
