// Package panics keeps a panic from ending the process. The panic is logged with its stack and counted. Only
// the session, connection or request in which it happened ends.
//
// A panic is recovered where the handling of a session, connection or request begins. Code deeper in
// the call stack does not recover panics, so that it cannot continue with a half-made change. A comment at each place
// that recovers says what is lost. Code that such a place calls must unlock mutexes by defer;
// otherwise the mutexes stay locked after a panic.
//
// Fatal errors of the Go runtime, such as concurrent map writes, still end the process.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// Part is the part of the service in which a panic happened.
type Part string

// These are the parts of the service that recover panics.
const (
	Session    Part = "session"    // a change of one session, such as a renewal or a push
	Connection Part = "connection" // the handling of one WebSocket's messages
	Request    Part = "request"    // an HTTP request from a client
	Hook       Part = "hook"       // an HTTP request to the back end
)

// ErrPanicked replaces the result of a call that panicked.
var ErrPanicked = errors.New("the program failed; the log has the stack")

// Reporter logs and counts recovered panics. It is safe for concurrent use. A nil Reporter recovers nothing.
type Reporter struct {
	logger *slog.Logger
	total  *prometheus.CounterVec
}

// NewReporter returns a Reporter.
func NewReporter(logger *slog.Logger, registerer prometheus.Registerer) *Reporter {
	r := &Reporter{logger: logger, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_panics_total",
		Help: "Recovered panics, which are faults in the program. A panic ends one session, connection or request.",
	}, []string{"part"})}
	for _, part := range []Part{Session, Connection, Request, Hook} {
		r.total.WithLabelValues(string(part))
	}
	registerer.MustRegister(r.total)
	return r
}

// Recover recovers a panic and sets *failed to ErrPanicked; failed may be nil. It must be deferred directly.
// args become attributes of the log line.
func (r *Reporter) Recover(part Part, failed *error, args ...any) {
	if r == nil {
		return
	}
	value := recover()
	if value == nil {
		return
	}
	r.Report(part, value, args...)
	if failed != nil {
		*failed = ErrPanicked
	}
}

// Report logs and counts a panic that the caller has recovered. Call it in the deferred function, while the
// stack still exists.
func (r *Reporter) Report(part Part, value any, args ...any) {
	r.total.WithLabelValues(string(part)).Inc()
	logger := r.logger.With(args...)
	logger.Error("a panic was recovered", "part", string(part), "panic", describe(value), "stack", string(debug.Stack()))
}

// Handler returns a handler that reports the panics of h. As in net/http, a panic ends the request and closes
// its connection.
func (r *Reporter) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
				r.Report(Request, value)
			}
			panic(http.ErrAbortHandler) // net/http closes the connection, and does not log this value
		}()
		h.ServeHTTP(w, request)
	})
}

// describe returns the text of a panic's value. Only errors of the Go runtime are quoted; other values may
// contain secrets.
func describe(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", value)
}
