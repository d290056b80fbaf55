package logging

import (
	"sync/atomic"
	"time"
)

// started is where a Throttle's time begins: the monotonic clock goes on when the
// wall clock is set.
var started = time.Now()

// Throttle bounds how often log lines of one kind are written, and counts those left
// out. The zero value is ready. It is safe for concurrent use.
type Throttle struct {
	last    atomic.Int64 // when a line was last written, since started; 0: never
	skipped atomic.Int64 // since then
}

// Pass reports whether a line may be written now, at most one in every so long, and how
// many were left out since the last line.
func (t *Throttle) Pass(every time.Duration) (unlogged int64, ok bool) {
	now, last := time.Since(started), t.last.Load()
	if last != 0 && now-time.Duration(last) < every || !t.last.CompareAndSwap(last, int64(now)) {
		t.skipped.Add(1)
		return 0, false
	}
	return t.skipped.Swap(0), true
}
