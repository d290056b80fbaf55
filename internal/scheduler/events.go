package scheduler

import (
	"context"
	"log/slog"
	"time"

	"refresher/internal/logging"
	"refresher/internal/session"
)

// event is something that happened to a session. Metrics, traces and the log are made from events;
// no decision of the engine depends on them.
type event struct {
	kind kind
	seq  uint64
	// attempt counts the pushes of this bundle; it is 1 for the first push.
	attempt int
	cause   session.Cause
	// rejoin is true if the push has the action "rejoin", not "renew".
	rejoin bool
	acked  session.Acked
	now    session.Instant
	// due is the session's deadline. lag is the time from the deadline until the task was done.
	due session.Instant
	lag time.Duration
	// code and message come from the client's SDK, which refused a bundle.
	code    string
	message string
	err     error
}

type kind uint8

const (
	evOpened              kind = iota // the session was added to the table
	evMoved                           // the session's state has changed since the last call of commit
	evStarted                         // a renewal begins: its approval is requested, or its bundle is minted
	evDue                             // the deadline of a renewal has passed
	evIssued                          // a bundle was minted
	evMintFailed                      // minting a bundle failed
	evPushing                         // a push is about to be written
	evPushed                          // the push was written
	evPushFailed                      // writing the push failed
	evTaskDone                        // the task of a deadline is done
	evAcked                           // the client confirmed a bundle by an ack
	evConfirmed                       // the client confirmed a bundle by a resume, or over HTTP
	evNacked                          // the client's SDK refused a bundle
	evTokensExpired                   // the client's tokens expired
	evJoined                          // `joined` with the first tokens was sent to the client
	evResumed                         // the client has reconnected with its resume key
	evRepeated                        // a renewal over HTTP was answered with the same bundle as before
	evRenewed                         // a renewal over HTTP was answered with a new bundle
	evSilent                          // the client does not answer pushes
	evDetached                        // the session has lost its connection
	evUnreachable                     // the session is detached, and its tokens expire soon
	evApprovalUnavailable             // your back end did not answer a request for approval
	evDeniedUnanswered                // the session is denied, because your back end did not answer within the grace period
	evEnded                           // the session has ended
	evAdopted                         // the session was taken over from a dead node
	evLost                            // another node owns the session, or has ended it
	evDropped                         // this node discarded the session: another node has it, or its join failed
)

// pushEvent returns an event about a push. It copies the push's fields, so that the push itself does not
// escape to the heap.
func pushEvent(k kind, p *session.Push) event {
	return event{kind: k, seq: p.Seq, attempt: p.Attempt, cause: p.Cause}
}

// emit passes an event to the metrics, the trace and the log. The caller holds e's lock.
func (e *entry) emit(ev event) {
	e.engine.metrics.observe(&ev, e)
	e.engine.tracer.observe(&ev, e)
	e.engine.journal.observe(&ev, e)
}

// logEvery is the minimum time between two log lines of the same kind, for kinds that could flood
// the log.
const logEvery = 10 * time.Second

// journal writes the log. It throttles log lines that could flood it.
type journal struct {
	*slog.Logger

	// failures throttles the lines about failed renewals.
	failures logging.Throttle
	// crowded throttles the line about sessions that were removed to stay within MaxSessions.
	crowded logging.Throttle
}

// observe writes the log line for an event, if its kind has one. The caller holds e's lock.
func (j *journal) observe(ev *event, e *entry) {
	switch ev.kind {
	case evAcked:
		// The level is checked first, so that a line that is not logged costs no allocation.
		if j.Enabled(context.Background(), slog.LevelDebug) {
			j.log(e, slog.LevelDebug, "renewal acked", "seq", ev.seq, "margin_seconds", ev.acked.Margin.Seconds())
		}
	case evNacked:
		if more, ok := e.refusals.Pass(logEvery); ok {
			j.log(e, slog.LevelWarn, "client's SDK refused the tokens", "seq", ev.seq, "sdk_code", ev.code, "sdk_message", ev.message, "more", more)
		}
	case evMintFailed:
		if more, ok := j.failures.Pass(logEvery); ok {
			j.log(e, slog.LevelError, "renewal failed, trying again", "error", ev.err, "retry_seconds", retryAfterError.Seconds(), "more", more)
		}
	case evTokensExpired:
		if !ev.rejoin {
			j.log(e, slog.LevelWarn, "tokens expired while no client was connected")
		} else {
			j.log(e, slog.LevelWarn, "tokens expired unconfirmed, telling the client to rejoin the call")
		}
	case evPushFailed:
		j.log(e, slog.LevelInfo, "push failed", "error", ev.err)
	case evJoined:
		j.log(e, slog.LevelInfo, "session joined", "ttl_seconds", int64(e.session.Terms.TTL.Seconds()))
	case evResumed:
		j.log(e, slog.LevelInfo, "session resumed", "epoch", e.session.Epoch(), "seq", ev.seq)
	case evRenewed:
		j.log(e, slog.LevelInfo, "session renewed over HTTP", "seq", ev.seq)
	case evDetached:
		j.log(e, slog.LevelInfo, "session detached", "epoch", e.session.AttachedEpoch())
	case evEnded:
		j.log(e, slog.LevelInfo, "session ended", "reason", string(e.reason), "access_ends_at", e.session.Ending(e.reason).AccessEndsAt)
	case evAdopted:
		j.log(e, slog.LevelInfo, "session adopted from a dead node", "epoch", e.session.Epoch())
	case evLost:
		j.log(e, slog.LevelInfo, "session moved to another node", "epoch", e.session.Epoch())
	case evSilent:
		j.log(e, slog.LevelWarn, "client is silent, closing its connection")
	case evUnreachable:
		j.log(e, slog.LevelInfo, "session unreachable: no client is connected, and its tokens expire soon")
	case evDeniedUnanswered:
		j.log(e, slog.LevelWarn, "no approval from the back end for longer than --authorize-grace")
	case evApprovalUnavailable:
		j.log(e, slog.LevelDebug, "no approval for a renewal: the back end is unavailable", "error", ev.err)
	default:
	}
}

// log writes a log line about a session.
func (j *journal) log(e *entry, level slog.Level, message string, args ...any) {
	if j.Enabled(context.Background(), level) {
		j.With("session", e.claims.Session).Log(context.Background(), level, message, args...) //nolint:sloglint // the callers' messages are constants
	}
}
