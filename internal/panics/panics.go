// Package panics keeps a panic from ending the process: it is logged with its
// stack and counted, and only what was being handled ends. It knows nothing of
// the rest of the service.
//
// A panic is recovered where the handling of one session, connection or request
// begins, and nowhere deeper, so that a fault does not go on with half a change.
// Each such place says in its own comment what it drops. Locks are released by
// defer below it, or what they guard would be blocked for ever.
//
// What Go itself calls fatal, such as concurrent writes to a map, still ends the
// process.
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

// Part is what was being handled when a panic was recovered.
type Part string

// Parts of the service that recover.
const (
	Session    Part = "session"    // a change to one session, its renewal or its push
	Connection Part = "connection" // what one WebSocket said
	Request    Part = "request"    // one HTTP request
	Hook       Part = "hook"       // one request to the customer's back end
)

// ErrPanicked is what a recovered panic becomes for its caller.
var ErrPanicked = errors.New("the program failed; the log has the stack")

// Reporter logs and counts recovered panics. It is safe for concurrent use. With a
// nil Reporter panics are not recovered.
type Reporter struct {
	logger *slog.Logger
	total  *prometheus.CounterVec
}

// NewReporter makes a Reporter.
func NewReporter(logger *slog.Logger, registerer prometheus.Registerer) *Reporter {
	r := &Reporter{logger: logger, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_panics_total",
		Help: "Panics that were recovered: faults in the program. Each ended one session, connection or request.",
	}, []string{"part"})}
	for _, part := range []Part{Session, Connection, Request, Hook} {
		r.total.WithLabelValues(string(part))
	}
	registerer.MustRegister(r.total)
	return r
}

// Recover is deferred by a function that turns a panic into its error. failed
// becomes ErrPanicked; it may be nil. args are attributes for the log.
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

// Report logs and counts a panic that the caller has recovered, from within the
// deferred function, while the stack is still there.
func (r *Reporter) Report(part Part, value any, args ...any) {
	r.total.WithLabelValues(string(part)).Inc()
	logger := r.logger.With(args...)
	logger.Error("a panic was recovered", "part", string(part), "panic", describe(value), "stack", string(debug.Stack()))
}

// Handler has a panic end the request, and the connection it came on, as net/http
// does by itself.
func (r *Reporter) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		defer func() {
			value := recover()
			if value == nil {
				return
			}
			if value != http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does.
				r.Report(Request, value)
			}
			panic(http.ErrAbortHandler) // which net/http does not log again
		}()
		h.ServeHTTP(w, request)
	})
}

// describe names a panic without quoting what the program handled at the time:
// only the runtime's own words are known to hold no secret.
func describe(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", value)
}
