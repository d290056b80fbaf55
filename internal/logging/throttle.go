package logging

import (
	"sync/atomic"
	"time"
)

// started is the time from which Throttle measures, by the monotonic clock. So a change of the wall clock does
// not affect it.
var started = time.Now()

// Throttle limits how often log lines of one kind are written, and counts the suppressed lines. The zero
// value is ready to use. It is safe for concurrent use.
type Throttle struct {
	last    atomic.Int64 // time of the last written line, as a duration since `started`; 0 before the first line
	skipped atomic.Int64 // number of lines that were suppressed since the last written line
}

// Pass reports whether a line may be written now; lines are at least `every` apart. If ok is true, `unlogged` is the
// number of lines that were suppressed since the last written line.
func (t *Throttle) Pass(every time.Duration) (unlogged int64, ok bool) {
	now, last := time.Since(started), t.last.Load()
	if last != 0 && now-time.Duration(last) < every || !t.last.CompareAndSwap(last, int64(now)) {
		t.skipped.Add(1)
		return 0, false
	}
	return t.skipped.Swap(0), true
}
