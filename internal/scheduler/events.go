package scheduler

import (
	"context"
	"log/slog"
	"time"

	"refresher/internal/logging"
	"refresher/internal/session"
)

// event is something that happened to a session. The metrics, the trace and the log observe
// it; the engine itself goes by none of them.
type event struct {
	kind    kind
	push    *session.Push
	acked   session.Acked
	seq     uint64 // that the client names
	now     session.Instant
	due     session.Instant // when it fell due
	lag     time.Duration   // how much later it was done
	code    string          // of the client's SDK
	message string          // the SDK's
	err     error
}

// kind is what happened.
type kind uint8

const (
	evOpened      kind = iota // it is in the table
	evMoved                   // from the state that was counted to another
	evStarted                 // a renewal begins, or the question ahead of one
	evDue                     // it fell due
	evIssued                  // a bundle was minted
	evUnminted                // it could not be
	evPushing                 // a push is about to be written
	evPushed                  // it was
	evUnpushed                // it could not be
	evServed                  // what was due is done
	evAcked                   // the client confirmed a bundle
	evConfirmed               // it did so by coming back
	evNacked                  // its SDK refused one
	evRanOut                  // its tokens ran out; with a push, which tells it to join again
	evJoined                  // the client has its first tokens
	evResumed                 // it is back
	evRepeated                // a renewal over HTTP was answered with the newest bundle again
	evRenewed                 // and with a new one
	evSilent                  // the client does not answer
	evDetached                // it has no connection now
	evUnreachable             // and its tokens run out soon
	evUnanswered              // the back end could not be asked
	evUnasked                 // for longer than the grace
	evEnded                   // it is over
	evAdopted                 // taken over from a node that is gone
	evLost                    // to another node
	evDropped                 // it is another node's, or never came to be
)

// emit tells the observers. e's lock is held.
func (e *entry) emit(ev event) {
	e.engine.metrics.observe(&ev, e)
	e.engine.tracer.observe(&ev, e)
	e.engine.journal.observe(&ev, e)
}

// logEvery is how often lines that can be many are written.
const logEvery = 10 * time.Second

// journal is the log. Of many lines of a kind it has some.
type journal struct {
	*slog.Logger

	failures logging.Throttle // of renewals
	crowded  logging.Throttle // that sessions were forgotten for want of room
}

// observe writes the event's line, if it has one. e's lock is held.
func (j *journal) observe(ev *event, e *entry) {
	switch ev.kind {
	case evAcked:
		j.log(e, slog.LevelDebug, "renewal acked", "seq", ev.seq, "margin_seconds", ev.acked.Margin.Seconds())
	case evNacked:
		if more, ok := e.refusals.Pass(logEvery); ok {
			j.log(e, slog.LevelWarn, "client's SDK refused the tokens", "seq", ev.seq, "sdk_code", ev.code, "sdk_message", ev.message, "more", more)
		}
	case evUnminted:
		if more, ok := j.failures.Pass(logEvery); ok {
			j.log(e, slog.LevelError, "renewal failed, trying again", "error", ev.err, "retry_seconds", retryAfterError.Seconds(), "more", more)
		}
	case evRanOut:
		if ev.push == nil {
			j.log(e, slog.LevelWarn, "tokens ran out while nobody was connected")
		} else {
			j.log(e, slog.LevelWarn, "tokens ran out unconfirmed, telling the client to join again")
		}
	case evUnpushed:
		j.log(e, slog.LevelInfo, "push failed", "error", ev.err)
	case evJoined:
		j.log(e, slog.LevelInfo, "session joined", "ttl_seconds", int64(e.session.Terms.TTL.Seconds()))
	case evResumed:
		j.log(e, slog.LevelInfo, "session resumed", "epoch", e.session.Epoch(), "seq", ev.push.Seq)
	case evRenewed:
		j.log(e, slog.LevelInfo, "session renewed over HTTP", "seq", ev.push.Seq)
	case evDetached:
		j.log(e, slog.LevelInfo, "session detached", "epoch", e.session.Attachment())
	case evEnded:
		j.log(e, slog.LevelInfo, "session ended", "reason", string(e.reason), "access_ends_at", e.session.Ending(e.reason).AccessEndsAt)
	case evAdopted:
		j.log(e, slog.LevelInfo, "session adopted, its node is gone", "epoch", e.session.Epoch())
	case evLost:
		j.log(e, slog.LevelInfo, "session lost to another node", "epoch", e.session.Epoch())
	case evSilent:
		j.log(e, slog.LevelWarn, "client is silent, closing its connection")
	case evUnreachable:
		j.log(e, slog.LevelInfo, "nobody is connected, and the tokens run out soon")
	case evUnasked:
		j.log(e, slog.LevelWarn, "the back end could not be asked for longer than authorize-grace")
	case evUnanswered:
		j.log(e, slog.LevelDebug, "a renewal could not be authorized", "error", ev.err)
	default:
	}
}

// log writes a line about a session.
func (j *journal) log(e *entry, level slog.Level, message string, args ...any) {
	if j.Enabled(context.Background(), level) { // acks are logged at debug level
		j.With("session", e.id).Log(context.Background(), level, message, args...) //nolint:sloglint // the callers' messages are constants
	}
}
