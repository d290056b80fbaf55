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
	// maxWaiting bounds the lines that wait for the output, in bytes: some thousand.
	maxWaiting = 1 << 20
	// closePatience is how long Close waits for an output that blocks.
	closePatience = 2 * time.Second
)

// IgnoreBrokenPipe makes writes to a pipe without a reader fail, instead of ending the
// process. Ignored, unlike caught, the signal is not delivered for sockets either:
// each connection that breaks while it is written to would raise it.
func IgnoreBrokenPipe() { signal.Ignore(syscall.SIGPIPE) }

// Log is a log that writes in the background. It is safe for concurrent use.
type Log struct {
	// Logger queues its lines, and never blocks.
	Logger *slog.Logger

	output io.Writer
	handle func(io.Writer) slog.Handler
	ended  chan struct{} // closed when the writing goroutine has ended

	// Of the writing goroutine alone.
	torn     bool   // the output ends in the middle of a line
	reported uint64 // dropped lines that the log has told of

	mu      sync.Mutex
	more    sync.Cond    // of mu: waiting has grown, or closed was set
	waiting bytes.Buffer // guarded by mu; whole lines
	dropped uint64       // guarded by mu; lines, since the start
	closed  bool         // guarded by mu
}

// New returns a Log that writes to output what the handler that handle makes formats.
// Close ends its goroutine.
func New(output io.Writer, handle func(io.Writer) slog.Handler) *Log {
	l := &Log{output: output, handle: handle, ended: make(chan struct{})}
	l.more.L = &l.mu
	l.Logger = slog.New(handle(queue{l}))
	go l.run()
	return l
}

// Dropped is how many lines were lost since the start: the output failed, or was blocked
// for too long.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close writes the lines that wait, unless the output blocks. What is logged afterwards
// is dropped.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	timeout := time.NewTimer(closePatience)
	defer timeout.Stop()
	select {
	case <-l.ended:
	case <-timeout.C: // the goroutine hangs in a write, until the process ends
	}
}

// queue is the handler's end of a Log.
type queue struct{ log *Log }

// Write queues one line. It implements io.Writer for slog's handlers, which write each
// line by one call.
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

// write writes whole lines, on a new line of the output.
func (l *Log) write(lines []byte) error {
	if l.torn { // the line is counted as dropped already
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

// report has the log say how many lines were dropped since the last report. It goes past
// the queue, which may be full.
func (l *Log) report() {
	dropped := l.Dropped()
	if dropped == l.reported {
		return
	}
	var line bytes.Buffer
	logger := slog.New(l.handle(&line))
	logger.Warn("lines of the log were lost: its reader was away, stopped or full", "lines", dropped-l.reported)
	if n, err := l.output.Write(line.Bytes()); err != nil {
		l.torn = n > 0
		return
	}
	l.reported = dropped
}

// take waits for lines, and swaps them for the empty batch. It returns false at the end.
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

// drop counts the lines that end in text, which could not be written.
func (l *Log) drop(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += uint64(bytes.Count(text, []byte("\n")))
}
