package panics

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func reporter(t *testing.T) (*Reporter, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	r := NewReporter(slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	return r, log
}

func TestRecoverLogsAndCounts(t *testing.T) {
	t.Parallel()
	r, log := reporter(t)
	err := func() (err error) {
		defer r.Recover(Session, &err, "session", "S")
		var nothing *Reporter
		nothing.total.Reset()
		return nil
	}()
	if !errors.Is(err, ErrPanicked) {
		t.Errorf("error %v", err)
	}
	text := log.String()
	for _, want := range []string{
		"level=ERROR", "session=S", "part=session", "invalid memory address or nil pointer dereference", "TestRecoverLogsAndCounts",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	for part, want := range map[Part]float64{Session: 1, Connection: 0, Request: 0, Hook: 0} {
		if got := testutil.ToFloat64(r.total.WithLabelValues(string(part))); got != want {
			t.Errorf("%s: %v, want %v", part, got, want)
		}
	}
}

// The value of a panic is not logged, since it may contain a secret.
func TestPanicValuesAreNotLogged(t *testing.T) {
	t.Parallel()
	r, log := reporter(t)
	func() {
		defer r.Recover(Request, nil)
		panic("cannot read hunter2")
	}()
	if text := log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "panic=string") {
		t.Error(text)
	}
}

func TestNothingIsReportedWithoutAPanic(t *testing.T) {
	t.Parallel()
	r, log := reporter(t)
	func() { defer r.Recover(Connection, nil) }()
	if log.Len() > 0 || testutil.CollectAndCount(r.total) != 4 {
		t.Error(log)
	}
}

func TestNilReporterRecoversNothing(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	defer (*Reporter)(nil).Recover(Session, nil)
	panic("on")
}

func TestPanicInARequestIsCounted(t *testing.T) {
	t.Parallel()
	r, log := reporter(t)
	server := httptest.NewServer(r.Handler(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/aborts" {
			panic(http.ErrAbortHandler)
		}
		panic("a fault")
	})))
	defer server.Close()
	for _, path := range []string{"/aborts", "/fails"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := server.Client().Do(request); err == nil {
			response.Body.Close()
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	server.Close() // Close waits for the handlers, since they log after the client has received its error
	if n := testutil.ToFloat64(r.total.WithLabelValues(string(Request))); n != 1 || strings.Count(log.String(), "level=ERROR") != 1 {
		t.Errorf("%v counted, logged %s", n, log)
	}
}
