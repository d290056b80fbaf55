package files

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup is a running Watcher in a synctest bubble, with its folder, metrics and log.
type setup struct {
	*Watcher
	t        *testing.T
	dir      string
	registry *prometheus.Registry
	log      *log
}

func newSetup(t *testing.T) *setup {
	t.Helper()
	s := &setup{t: t, dir: t.TempDir(), registry: prometheus.NewRegistry(), log: new(log)}
	s.Watcher = New(slog.New(slog.NewTextHandler(s.log, nil)), s.registry)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return s
}

// bubble runs a test in a synctest bubble with a setup.
func bubble(t *testing.T, test func(s *setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newSetup(t)) })
}

func (s *setup) path(name string) string { return filepath.Join(s.dir, name) }

func (s *setup) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// rename replaces the file `to` by the file `from`.
func (s *setup) rename(from, to string) {
	s.t.Helper()
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) remove(name string) {
	s.t.Helper()
	if err := os.Remove(s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) link(target, name string) {
	s.t.Helper()
	if err := os.Symlink(target, s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// pass advances the simulated time until the Watcher has checked its files once.
func (s *setup) pass() {
	time.Sleep(interval) // bubble
	synctest.Wait()
}

// gauge returns the value of a metric.
func (s *setup) gauge(name string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// wantLog checks the lines logged since the last call: there must be one line for each text, in this order.
func (s *setup) wantLog(texts ...string) {
	s.t.Helper()
	lines := s.log.take()
	ok := len(lines) == len(texts)
	for i := 0; ok && i < len(lines); i++ {
		ok = strings.Contains(lines[i], texts[i])
	}
	if !ok {
		s.t.Errorf("logged %q, want %q", lines, texts)
	}
}

// log collects log lines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) take() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		lines = append(lines, line)
	}
	l.text.Reset()
	return lines
}
