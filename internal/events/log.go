package events

import (
	"log/slog"
	"time"

	"refresher/internal/logging"
)

// logs writes the lines about deliveries, of each kind one a minute at most.
// unlogged is how many of the kind were left out since the one before. It is
// safe for concurrent use.
type logs struct {
	logger *slog.Logger // names the endpoint

	drops, failures, openings, closings logging.Throttle
}

// dropped: e was given up.
func (l *logs) dropped(now time.Time, e *entry, cause string) {
	if unlogged, ok := l.drops.Pass(time.Minute); ok {
		l.logger.Warn("event dropped", "cause", cause, "type", string(e.kind), "session", e.session,
			"age_seconds", now.Sub(e.sent).Seconds(), "unlogged", unlogged)
	}
}

// failed: an attempt for e failed, its failures-th.
func (l *logs) failed(e *entry, a answer, failures, queued int) {
	unlogged, ok := l.failures.Pass(time.Minute)
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
func (l *logs) failing(queued int) {
	if unlogged, ok := l.openings.Pass(time.Minute); ok {
		l.logger.Warn("the endpoint is failing, events wait", "queued", queued, "unlogged", unlogged)
	}
}

// recovered: the endpoint takes events again, after that time.
func (l *logs) recovered(after time.Duration, queued int) {
	if unlogged, ok := l.closings.Pass(time.Minute); ok {
		l.logger.Info("the endpoint answers again", "after_seconds", after.Seconds(), "queued", queued, "unlogged", unlogged)
	}
}
