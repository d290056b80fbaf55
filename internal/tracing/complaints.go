package tracing

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// complaints logs what the SDK complains of, once a minute at most: a collector
// that is away is complained of with every batch.
type complaints struct {
	logger *slog.Logger
	next   atomic.Int64 // Unix ns
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now := time.Now()
	next := c.next.Load()
	if now.UnixNano() >= next && c.next.CompareAndSwap(next, now.Add(time.Minute).UnixNano()) {
		c.logger.Warn("traces are lost; calls are not touched", "error", err)
	}
}

// misread logs what the SDK cannot make anything of in its settings, and goes on
// without; it would write that to the terminal. Values are left out: there may be
// a key among the headers.
type misread struct{ logger *slog.Logger }

var _ logr.LogSink = misread{}

// Error implements logr.LogSink.
func (m misread) Error(err error, what string, _ ...any) {
	m.logger.Warn("a setting of OpenTelemetry is left out", "error", fmt.Errorf("%s: %w", what, err))
}

// Enabled implements logr.LogSink. All but errors is chat.
func (misread) Enabled(int) bool { return false }

// Init implements logr.LogSink.
func (misread) Init(logr.RuntimeInfo) {}

// Info implements logr.LogSink.
func (misread) Info(int, string, ...any) {}

// WithName implements logr.LogSink.
func (m misread) WithName(string) logr.LogSink { return m }

// WithValues implements logr.LogSink.
func (m misread) WithValues(...any) logr.LogSink { return m }
