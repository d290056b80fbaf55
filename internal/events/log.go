package events

import (
	"log/slog"
	"sync"
	"time"
)

// throttleFor is how long one line of a kind keeps the next ones out of the log.
const throttleFor = time.Minute

// logs writes the lines about deliveries, of each kind one a minute at most.
// unlogged is how many of the kind were left out since the one before. It is
// safe for concurrent use.
type logs struct {
	logger *slog.Logger // names the endpoint

	drops, failures, openings, closings throttle
}

// dropped: e was given up.
func (l *logs) dropped(now time.Time, e *entry, cause string) {
	if unlogged, ok := l.drops.pass(now); ok {
		l.logger.Warn("event dropped", "cause", cause, "type", string(e.kind), "session", e.session,
			"age_seconds", now.Sub(e.sent).Seconds(), "unlogged", unlogged)
	}
}

// failed: an attempt for e failed, its failures-th.
func (l *logs) failed(now time.Time, e *entry, a answer, failures, queued int) {
	unlogged, ok := l.failures.pass(now)
	if !ok {
		return
	}
	logger := l.logger.With("status", a.status)
	if a.err != nil {
		logger = l.logger.With("error", a.err)
	}
	logger.Warn("event not delivered, trying again", "type", string(e.kind), "session", e.session,
		"failures", failures, "queued", queued, "unlogged", unlogged)
}

// failing: the endpoint is now tried once in a while only.
func (l *logs) failing(now time.Time, queued int) {
	if unlogged, ok := l.openings.pass(now); ok {
		l.logger.Warn("the endpoint is failing, events wait", "queued", queued, "unlogged", unlogged)
	}
}

// recovered: the endpoint takes events again, after that time.
func (l *logs) recovered(now time.Time, after time.Duration, queued int) {
	if unlogged, ok := l.closings.pass(now); ok {
		l.logger.Info("the endpoint answers again", "after_seconds", after.Seconds(), "queued", queued, "unlogged", unlogged)
	}
}

// throttle lets one log line of a kind through at a time. It is safe for
// concurrent use.
type throttle struct {
	mu      sync.Mutex
	last    time.Time // guarded by mu; when one was let through
	skipped int       // guarded by mu; since then
}

// pass reports whether a line may be written now, and how many were left out
// before it.
func (t *throttle) pass(now time.Time) (skipped int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && now.Sub(t.last) < throttleFor {
		t.skipped++
		return 0, false
	}
	skipped, t.skipped, t.last = t.skipped, 0, now
	return skipped, true
}
