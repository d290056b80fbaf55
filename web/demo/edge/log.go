package edge

import (
	"context"
	"log/slog"
)

// note is a log line that is not written yet.
type note struct {
	text string
	args []any
}

// note queues a log line. The caller holds mu, and must release it with unlock, which writes the line: a slow log must
// not delay deadlines of calls.
func (e *Edge) note(text string, who identity, args ...any) {
	if e.log.Enabled(context.Background(), slog.LevelInfo) {
		e.notes = append(e.notes, note{text, append([]any{"leg", who.leg, "channel", who.channel, "user", who.user}, args...)})
	}
}

// unlock releases mu, and then writes the queued log lines. Only one goroutine writes at a time, for all of them, so
// the lines keep their order.
func (e *Edge) unlock() {
	defer e.mu.Unlock()
	if e.logging || len(e.notes) == 0 {
		return
	}
	e.logging = true
	for len(e.notes) > 0 {
		notes := e.notes
		e.notes = nil
		e.mu.Unlock()
		for _, n := range notes {
			e.log.Info(n.text, n.args...) //nolint:sloglint // constant where it was noted
		}
		e.mu.Lock()
	}
	e.logging = false
	e.logged.Broadcast()
}
