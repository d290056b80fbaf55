package logging

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a Log's output that a test can block, fill up and read.
type output struct {
	mu   sync.Mutex // a test that holds it makes writes block
	text bytes.Buffer
	room int // number of bytes that still fit; negative means unlimited
}

var errFull = errors.New("no space left on device")

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.room >= 0 && len(p) > o.room {
		n, _ := o.text.Write(p[:o.room])
		o.room = 0
		return n, errFull
	}
	if o.room > 0 {
		o.room -= len(p)
	}
	return o.text.Write(p)
}

// blocked is an output that blocks until it is released. It does not use a mutex, because synctest does not
// count a goroutine that waits for a mutex as blocked.
type blocked struct {
	*output
	release chan struct{}
}

func (b blocked) Write(p []byte) (int, error) {
	<-b.release
	return b.output.Write(p)
}

func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n")
}

// plain formats lines as "msg=… lines=…", without the time.
func plain(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})
}

func TestLinesAreWrittenInOrderAndAllOfThemByClose(t *testing.T) {
	o := &output{room: -1}
	l := New(o, plain)
	var want []string
	for _, word := range []string{"one", "two", "three"} {
		l.Logger.Info("line", "word", word)
		want = append(want, "msg=line word="+word)
	}
	l.Close()
	if diff := cmp.Diff(want, o.lines()); diff != "" || l.Dropped() != 0 {
		t.Errorf("%d dropped, (-want +have):\n%s", l.Dropped(), diff)
	}
}

// If the output's reader stops, no call of the Logger blocks. Lines that do not fit are counted, and the log
// reports the count once the reader continues.
func TestAnOutputThatBlocksStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := blocked{&output{room: -1}, make(chan struct{})}
		l := New(o, plain)
		start := time.Now()
		l.Logger.Info("first") // blocks the writing goroutine
		synctest.Wait()
		long := strings.Repeat("x", 1<<10)
		const count = 2 * maxWaiting >> 10
		for range count {
			l.Logger.Info("line", "long", long)
		}
		dropped := l.Dropped()
		if dropped < count/2 || dropped > count*2/3 {
			t.Errorf("%d of %d lines were dropped", dropped, count)
		}
		if time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
		close(o.release)
		synctest.Wait()
		l.Close()
		lines, want := o.lines(), slogText(t, dropped)
		if lines[0] != "msg=first" || lines[1] != want || uint64(len(lines)) != 1+count-dropped+1 {
			t.Errorf("%d lines, %q and %q first", len(lines), lines[0], lines[1])
		}
		if dropped != l.Dropped() {
			t.Errorf("%d dropped, and then %d", dropped, l.Dropped())
		}
	})
}

// slogText returns the log line that reports dropped lines.
func slogText(t *testing.T, dropped uint64) string {
	t.Helper()
	var b bytes.Buffer
	slog.New(plain(&b)).Warn("lines of the log were lost: its reader was away, stopped or full", "lines", dropped)
	return strings.TrimSuffix(b.String(), "\n")
}

func TestCloseDoesNotWaitForAnOutputThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := blocked{&output{room: -1}, make(chan struct{})}
		l := New(o, plain)
		l.Logger.Info("first")
		start := time.Now()
		l.Close()
		if waited := time.Since(start); waited != closePatience {
			t.Errorf("waited %v", waited)
		}
		l.Logger.Info("after the end")
		close(o.release)
		synctest.Wait()
		if diff := cmp.Diff([]string{"msg=first", slogText(t, 1)}, o.lines()); diff != "" || l.Dropped() != 1 {
			t.Errorf("%d dropped, (-want +have):\n%s", l.Dropped(), diff)
		}
	})
}

// A full disk takes only part of a line. Once there is room, the next line begins on a new line.
func TestAnOutputThatIsFullForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &output{room: 22}
		l := New(o, plain)
		for _, word := range []string{"one", "two", "three"} { // these lines have 18, 18 and 20 bytes
			l.Logger.Info("line", "word", word)
			synctest.Wait()
		}
		if l.Dropped() != 2 {
			t.Errorf("%d dropped, want 2", l.Dropped())
		}
		o.mu.Lock()
		o.room = -1
		o.mu.Unlock()
		l.Logger.Info("four")
		synctest.Wait()
		l.Close()
		if diff := cmp.Diff([]string{"msg=line word=one", "msg=", "msg=four", slogText(t, 2)}, o.lines()); diff != "" {
			t.Errorf("-want +have:\n%s", diff)
		}
	})
}
