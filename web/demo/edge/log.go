package edge

import (
	"context"
	"log/slog"
)

// note is a log line on its way.
type note struct {
	text string
	args []any
}

// note keeps a log line until mu is free: a log that is slow, or a pipe that
// nobody reads, must not hold up the deadlines of calls. The caller holds mu and
// frees it with unlock.
func (e *Edge) note(text string, who identity, args ...any) {
	if e.log.Enabled(context.Background(), slog.LevelInfo) {
		e.notes = append(e.notes, note{text, append([]any{"leg", who.leg, "channel", who.channel, "user", who.user}, args...)})
	}
}

// unlock frees mu and sees to it that what was noted under it is logged. One
// goroutine at a time does this, for all others too, so the lines keep their order.
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
