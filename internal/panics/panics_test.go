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

func TestRecover(t *testing.T) {
	for name, c := range map[string]struct {
		run    func()
		logged string // part of the log line; empty for no line
	}{
		"no panic":           {func() {}, ""},
		"an error":           {func() { _ = (*Reporter)(nil).logger }, "panic=\"runtime error: invalid memory address or nil pointer dereference\""},
		"a value, not shown": {func() { panic("cannot read hunter2") }, "panic=string"},
	} {
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		r := NewReporter(slog.New(slog.NewTextHandler(&log, nil)), registry)
		err := func() (err error) {
			defer r.Recover(Session, &err, "session", "S")
			c.run()
			return nil
		}()
		count := testutil.ToFloat64(r.total.WithLabelValues(string(Session)))
		if n, err := testutil.GatherAndCount(registry, "refresher_panics_total"); n != 4 || err != nil {
			t.Errorf("%d counters, %v", n, err)
		}
		text := log.String()
		if c.logged == "" {
			if err != nil || count != 0 || text != "" {
				t.Errorf("%s: %v, counted %v, logged %s", name, err, count, text)
			}
			continue
		}
		if !errors.Is(err, ErrPanicked) || count != 1 {
			t.Errorf("%s: %v, counted %v", name, err, count)
		}
		for _, want := range []string{"level=ERROR", "session=S", "part=session", c.logged, "TestRecover"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", name, want, text)
			}
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("the log shows the value: %s", text)
		}
	}
}

func TestNilReporterRecoversNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	defer (*Reporter)(nil).Recover(Session, nil)
	panic("on")
}

func TestHandler(t *testing.T) {
	for value, want := range map[any]float64{http.ErrAbortHandler: 0, "a fault": 1} {
		r := NewReporter(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
					t.Error("net/http does not learn of the panic")
				}
			}()
			r.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) })).ServeHTTP(
				httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		}()
		if n := testutil.ToFloat64(r.total.WithLabelValues(string(Request))); n != want {
			t.Errorf("%v: %v counted, want %v", value, n, want)
		}
	}
}
