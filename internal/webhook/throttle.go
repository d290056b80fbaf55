package webhook

import (
	"sync"
	"time"
)

// throttleFor is how long one line of a kind keeps the next ones out of the log.
const throttleFor = time.Minute

// Throttle lets one log line of a kind through a minute. The zero value is
// ready. It is safe for concurrent use.
type Throttle struct {
	mu      sync.Mutex
	last    time.Time // guarded by mu; when one was let through
	skipped int       // guarded by mu; since then
}

// Pass reports whether a line may be written now, and how many were left out
// before it.
func (t *Throttle) Pass(now time.Time) (skipped int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && now.Sub(t.last) < throttleFor {
		t.skipped++
		return 0, false
	}
	skipped, t.skipped, t.last = t.skipped, 0, now
	return skipped, true
}
