package authorize

import (
	"log/slog"
	"time"

	"refresher/internal/logging"
)

// logs writes the lines about the endpoint, of each kind one a minute at most;
// what came of a question is its caller's to log. unlogged is how many of the
// kind were left out since the one before. It is safe for concurrent use.
type logs struct {
	logger *slog.Logger // names the endpoint

	openings, closings, mistakes logging.Throttle
}

// unread: a decision cannot be read, so its question has no answer.
func (l *logs) unread(err error) {
	if unlogged, ok := l.mistakes.Pass(time.Minute); ok {
		l.logger.Warn("a decision cannot be read and counts as no answer", "error", err, "unlogged", unlogged)
	}
}

// failing: the endpoint is now asked once in a while only.
func (l *logs) failing(err error) {
	if unlogged, ok := l.openings.Pass(time.Minute); ok {
		l.logger.Warn("the endpoint is failing, nothing is asked", "error", err, "unlogged", unlogged)
	}
}

// recovered: the endpoint answers again, after that time.
func (l *logs) recovered(after time.Duration) {
	if unlogged, ok := l.closings.Pass(time.Minute); ok {
		l.logger.Info("the endpoint answers again", "after_seconds", after.Seconds(), "unlogged", unlogged)
	}
}
