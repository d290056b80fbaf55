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

// note keeps a log line until mu is unlocked, so that a slow log does not delay the calls' deadlines.
// The caller holds mu and must unlock it with unlock.
func (e *Edge) note(text string, who identity, args ...any) {
	if e.log.Enabled(context.Background(), slog.LevelInfo) {
		e.notes = append(e.notes, note{text, append([]any{"leg", who.leg, "channel", who.channel, "user", who.user}, args...)})
	}
}

// unlock unlocks mu and then writes the log lines noted meanwhile. One goroutine at a time writes the log lines of all
// goroutines, so the lines keep their order.
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
