package logging

import (
	"bytes"
	"io"
	"log/slog"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	// maxWaiting limits the bytes of queued lines; it is enough for some thousand lines.
	maxWaiting = 1 << 20
	// closePatience is how long Close waits for an output that blocks.
	closePatience = 2 * time.Second
)

// IgnoreBrokenPipe ignores the signal SIGPIPE. A write to a pipe that has no reader then returns an error and does not
// end the process. The signal is not caught instead: it would also be delivered for each write to a broken socket.
func IgnoreBrokenPipe() { signal.Ignore(syscall.SIGPIPE) }

// Log writes log lines in the background. It is safe for concurrent use.
type Log struct {
	// Logger queues lines and never blocks.
	Logger *slog.Logger

	output io.Writer
	handle func(io.Writer) slog.Handler
	ended  chan struct{} // closed when the writing goroutine has ended

	// Only the writing goroutine uses `torn` and `reported`.
	torn     bool   // the output ends within a line, after a failed write
	reported uint64 // number of dropped lines already reported in the log

	mu      sync.Mutex
	more    sync.Cond    // signals that `waiting` has grown or `closed` was set; uses mu
	waiting bytes.Buffer // guarded by mu; queued lines, each complete
	dropped uint64       // guarded by mu; number of lines dropped since the start
	closed  bool         // guarded by mu
}

// New returns a Log that writes to output. The function `handle` makes the slog handler that formats the lines. Close
// ends the Log's goroutine.
func New(output io.Writer, handle func(io.Writer) slog.Handler) *Log {
	l := &Log{output: output, handle: handle, ended: make(chan struct{})}
	l.more.L = &l.mu
	l.Logger = slog.New(handle(queue{l}))
	go l.run()
	return l
}

// Dropped returns how many lines were lost since the start because the output failed or blocked.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes the queued lines, but gives up after closePatience. Lines that are logged after Close are dropped.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	timeout := time.NewTimer(closePatience)
	defer timeout.Stop()
	select {
	case <-l.ended:
	case <-timeout.C: // the goroutine stays blocked in a write until the process ends
	}
}

// queue is the io.Writer that the slog handler writes to.
type queue struct{ log *Log }

// Write queues one line; slog's handlers write each line by one call.
func (q queue) Write(line []byte) (int, error) {
	l := q.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.waiting.Len()+len(line) > maxWaiting {
		l.dropped++
		return len(line), nil
	}
	l.waiting.Write(line)
	l.more.Signal()
	return len(line), nil
}

// run writes queued lines until the Log is closed and its queue is empty.
func (l *Log) run() {
	defer close(l.ended)
	var batch bytes.Buffer
	for l.take(&batch) {
		if err := l.write(batch.Bytes()); err == nil {
			l.report()
		}
	}
}

// write writes complete lines. If the output ends in the middle of a line, write ends that line first.
func (l *Log) write(lines []byte) error {
	if l.torn { // end the torn line, which is already counted as dropped
		if _, err := l.output.Write([]byte("\n")); err != nil {
			l.drop(lines)
			return err
		}
		l.torn = false
	}
	n, err := l.output.Write(lines)
	if err != nil {
		l.torn = n > 0 && lines[n-1] != '\n'
		l.drop(lines[n:])
	}
	return err
}

// report logs how many lines were dropped since the last report. It writes directly to the output, since the
// queue may be full.
func (l *Log) report() {
	dropped := l.Dropped()
	if dropped == l.reported {
		return
	}
	var line bytes.Buffer
	logger := slog.New(l.handle(&line))
	logger.Warn("log lines were dropped: standard error was blocked or failed", "lines", dropped-l.reported)
	if n, err := l.output.Write(line.Bytes()); err != nil {
		l.torn = n > 0
		return
	}
	l.reported = dropped
}

// take waits for queued lines and moves them to the buffer `batch`. It returns false once the Log is closed and the
// queue is empty.
func (l *Log) take(batch *bytes.Buffer) bool {
	batch.Reset()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.waiting.Len() == 0 {
		if l.closed {
			return false
		}
		l.more.Wait()
	}
	l.waiting, *batch = *batch, l.waiting
	return true
}

// drop adds the number of lines in text, which could not be written, to the count of dropped lines.
func (l *Log) drop(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += uint64(bytes.Count(text, []byte("\n")))
}
