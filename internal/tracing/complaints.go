package tracing

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// complaints logs the OpenTelemetry SDK's errors, at most one a minute: while the collector is unreachable, each batch
// causes an error.
type complaints struct {
	logger *slog.Logger
	next   atomic.Int64 // from this time on an error may be logged again, in Unix nanoseconds
}

func (c *complaints) Handle(err error) {
	now := time.Now()
	next := c.next.Load()
	if now.UnixNano() >= next && c.next.CompareAndSwap(next, now.Add(time.Minute).UnixNano()) {
		c.logger.Warn("traces cannot be exported and are lost; calls are not affected", "error", err)
	}
}

// misread logs settings that the OpenTelemetry SDK cannot parse and therefore ignores; by default the SDK would print
// them to the terminal. It omits the values, since a header may contain an API key. Only the method Error logs; the
// SDK's other messages are dropped.
type misread struct{ logger *slog.Logger }

var _ logr.LogSink = misread{}

func (m misread) Error(err error, what string, _ ...any) {
	m.logger.Warn("an OpenTelemetry setting is invalid and ignored", "error", fmt.Errorf("%s: %w", what, err))
}

func (misread) Enabled(int) bool { return false }

func (misread) Init(logr.RuntimeInfo) {}

func (misread) Info(int, string, ...any) {}

func (m misread) WithName(string) logr.LogSink { return m }

func (m misread) WithValues(...any) logr.LogSink { return m }
