package files

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a running Watcher with its log, and a folder for the files.
type harness struct {
	*Watcher
	t   *testing.T
	dir string
	log bytes.Buffer
}

// run runs a test with a Watcher under synctest's fake clock.
func run(t *testing.T, test func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{t: t, dir: t.TempDir()}
		h.Watcher = New(slog.New(slog.NewTextHandler(&h.log, nil)), prometheus.NewRegistry())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.Run(ctx)
		test(h)
	})
}

func (h *harness) path(name string) string { return filepath.Join(h.dir, name) }

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) write(name, content string) {
	h.t.Helper()
	h.must(os.WriteFile(h.path(name), []byte(content), 0o600))
}

// pass advances the fake clock until the Watcher has checked its files once.
func (h *harness) pass() {
	time.Sleep(interval) // bubble
	synctest.Wait()
}

// want checks the number of broken files, and the lines logged since the last call: there must be one line for each
// text, in this order.
func (h *harness) want(broken float64, texts ...string) {
	h.t.Helper()
	h.mu.Lock() // the Watcher holds mu while it writes to h.log, so the test may read h.log only with mu
	defer h.mu.Unlock()
	if got := testutil.ToFloat64(h.broken); got != broken {
		h.t.Errorf("%v files broken, want %v", got, broken)
	}
	lines := strings.SplitAfter(h.log.String(), "\n")
	lines = lines[:len(lines)-1]
	h.log.Reset()
	ok := len(lines) == len(texts)
	for i := 0; ok && i < len(lines); i++ {
		ok = strings.Contains(lines[i], texts[i])
	}
	if !ok {
		h.t.Errorf("logged %q, want %q", lines, texts)
	}
}
