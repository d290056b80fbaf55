package listen

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"refresher/internal/logging"
)

// serverLog forwards the log lines of net/http's server, but only one of each kind a minute: a client can
// cause a line with each connection, for example by failing the TLS handshake.
type serverLog struct {
	slog.Handler
	handshakes, panics, others logging.Throttle
}

func (l *serverLog) Handle(ctx context.Context, r slog.Record) error {
	lines := &l.others
	switch {
	case strings.HasPrefix(r.Message, "http: TLS handshake error"):
		lines = &l.handshakes
	case strings.HasPrefix(r.Message, "http: panic"):
		lines = &l.panics
	}
	skipped, ok := lines.Pass(time.Minute)
	if !ok {
		return nil
	}
	r.AddAttrs(slog.Int64("unlogged", skipped))
	return l.Handler.Handle(ctx, r)
}
