package hook

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These are secrets of a back end; prefixedSecret is "whsec_" followed by base64.
const (
	testSecret     = "a secret of more than 24 bytes"
	prefixedSecret = "whsec_wP/uwP/uwP/uwP/uwP/uwP/uwP/uwP/u"
)

// counts compares the named metrics with the expected text.
func counts(t *testing.T, r *prometheus.Registry, text string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r, strings.NewReader(text), names...); err != nil {
		t.Error(err)
	}
}

// reply is a simulated back end's answer. retryAfter and body may be empty.
type reply struct {
	status     int
	retryAfter string
	body       string
}

var errRefused = errors.New("connection refused")

// down refuses every request, as if the back end did not run.
func down[R any](context.Context, R) (reply, error) { return reply{}, errRefused }

// hang never answers; it returns when the request is cancelled.
func hang[R any](ctx context.Context, _ R) (reply, error) {
	<-ctx.Done()
	return reply{}, ctx.Err()
}

// status returns a back end that always answers with this code.
func status[R any](code int) func(context.Context, R) (reply, error) {
	return func(context.Context, R) (reply, error) { return reply{status: code}, nil }
}

// after returns a back end that delays its answer by d.
func after[R any](d time.Duration, answer func(context.Context, R) (reply, error)) func(context.Context, R) (reply, error) {
	return func(ctx context.Context, r R) (reply, error) {
		select {
		case <-time.After(d):
			return answer(ctx, r)
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// wait advances the simulated time by d and waits until all goroutines block.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// logBuffer collects log output; it may be read during writes.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines counts the log lines that contain text.
func (b *logBuffer) lines(text string) int {
	n := 0
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
