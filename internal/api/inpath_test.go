package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// brokenAccess panics with the whole URL of the request.
type brokenAccess struct{ Access }

func (brokenAccess) ClientAddr(r *http.Request) netip.Addr {
	panic("access broke at " + r.RequestURI + " " + r.URL.String() + " " + r.URL.RawPath)
}

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
