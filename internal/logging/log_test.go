package logging

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output is a Log's output that a test can block or fill up.
type output struct {
	release chan struct{} // if not nil, writes block until it is closed
	room    int           // number of bytes that still fit
	text    bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	if o.release != nil {
		<-o.release
	}
	n := min(len(p), o.room)
	o.room -= n
	o.text.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (o *output) lines() []string {
	return strings.Split(strings.TrimSuffix(o.text.String(), "\n"), "\n")
}

// plain formats lines as "msg=… lines=…", without time and level.
func plain(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})
}

// lost is the log line that reports dropped lines.
func lost(n uint64) string {
	return fmt.Sprintf(`msg="log lines were dropped: standard error was blocked or failed" lines=%d`, n)
}

func TestLinesAreWrittenInOrderAndAllOfThemByClose(t *testing.T) {
	o := &output{room: 1 << 20}
	l := New(o, plain)
	var want []string
	for i := range 100 {
		l.Logger.Info("line", "number", i)
		want = append(want, fmt.Sprintf("msg=line number=%d", i))
	}
	l.Close()
	if !slices.Equal(o.lines(), want) || l.Dropped() != 0 {
		t.Errorf("%d dropped, got %q", l.Dropped(), o.lines())
	}
}

// If the output's reader stops, no call of the Logger blocks. Lines that do not fit are counted, and the log
// reports the count once the reader continues.
func TestAnOutputThatBlocksStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &output{release: make(chan struct{}), room: 10 << 20}
		l := New(o, plain)
		l.Logger.Info("first") // blocks the writing goroutine
		synctest.Wait()
		const size, count = 1 << 10, 2 * maxWaiting >> 10
		long := strings.Repeat("x", size-len("msg=line long=\n"))
		for range count {
			l.Logger.Info("line", "long", long)
		}
		dropped := l.Dropped()
		if dropped != count/2 {
			t.Errorf("%d of %d lines were dropped", dropped, count)
		}
		close(o.release)
		l.Close()
		lines := o.lines()
		if lines[0] != "msg=first" || lines[1] != lost(dropped) || uint64(len(lines)) != 1+count-dropped+1 || l.Dropped() != dropped {
			t.Errorf("%d lines, %q and %q first; %d dropped", len(lines), lines[0], lines[1], l.Dropped())
		}
	})
}

func TestCloseDoesNotWaitForAnOutputThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &output{release: make(chan struct{}), room: 1 << 20}
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
		if want := []string{"msg=first", lost(1)}; !slices.Equal(o.lines(), want) {
			t.Errorf("got %q, want %q", o.lines(), want)
		}
	})
}

// A full disk takes only part of a line. Once there is room, the next line begins on a new line.
func TestAnOutputThatIsFullForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &output{room: 22}
		l := New(o, plain)
		for _, word := range []string{"one", "two", "three"} { // the first line has 18 bytes; of the second, 4 bytes are written
			l.Logger.Info("line", "word", word)
			synctest.Wait()
		}
		o.room = 1 << 20
		l.Logger.Info("four")
		synctest.Wait()
		l.Logger.Info("five")
		l.Close()
		if want := []string{"msg=line word=one", "msg=", "msg=four", lost(2), "msg=five"}; !slices.Equal(o.lines(), want) || l.Dropped() != 2 {
			t.Errorf("%d dropped, got %q, want %q", l.Dropped(), o.lines(), want)
		}
	})
}
