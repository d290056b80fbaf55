package ws

import (
	"context"
	"errors"
	"time"

	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

var (
	errTooLarge = session.Errorf(session.CodeBadRequest, "message too long; want at most %d bytes", protocol.MaxMessage)
	errNotUTF8  = session.Errorf(session.CodeBadRequest, "the message is not UTF-8")
	errBinary   = session.Errorf(session.CodeBadRequest, "binary message; want text, one JSON object each")
	errTooMany  = session.Errorf(session.CodeRateLimited, "too many messages; want at most %d a second", protocol.MessagesPerSecond)
	errGreeting = session.Errorf(session.CodeBadRequest, "the first message must be a join or a resume")
	errJoined   = session.Errorf(session.CodeBadRequest, "this connection already has a session; open one connection for each call")
)

// dispatch handles one message. It ignores write errors, since a failed write already closes the connection.
func (c *conn) dispatch(ctx context.Context, data []byte) {
	if c.attachment != nil && c.dispatchFrequent(data) {
		return
	}
	m, malformed := protocol.DecodeClient(data)
	if malformed != nil {
		c.refuse(malformed)
		return
	}
	if c.attachment == nil {
		outcome := c.attach(ctx, &m)
		c.hub.metrics.joins.WithLabelValues(outcome).Inc()
		return
	}
	switch m.Type {
	case protocol.TypeAck:
		c.answer(&m, c.attachment.Ack)
	case protocol.TypeNack:
		c.answer(&m, func(seq uint64) error {
			code, text := m.SDKError()
			return c.attachment.Nack(seq, code, text)
		})
	case protocol.TypeRenew:
		c.attachment.Renew()
	case protocol.TypeLeave:
		c.attachment.Leave()
	case protocol.TypePing:
		_ = c.writeText(protocol.AppendPong(nil, session.MilliOf(time.Now())))
	case protocol.TypeJoin, protocol.TypeResume:
		_ = c.write(protocol.FromError(errJoined))
	default:
		// The connection stays open, since a newer version of the client may send message types that this node does not
		// know.
		_ = c.write(protocol.FromError(protocol.UnknownType(m.Type)))
	}
}

// dispatchFrequent handles the message types that clients send most often, without decoding JSON. It returns false for
// all other messages.
func (c *conn) dispatchFrequent(data []byte) bool {
	kind, seq, ok := protocol.Frequent(data)
	switch kind {
	case protocol.TypeAck:
		c.tell(c.attachment.Ack(seq))
	case protocol.TypeRenew:
		c.attachment.Renew()
	case protocol.TypePing:
		_ = c.writeText(protocol.AppendPong(nil, session.MilliOf(time.Now())))
	}
	return ok
}

// answer passes the sequence number of an ack or a nack to the session by the function `pass`.
func (c *conn) answer(m *protocol.ClientMessage, pass func(seq uint64) error) {
	seq, missing := m.Answer()
	if missing != nil {
		_ = c.write(protocol.FromError(missing))
		return
	}
	c.tell(pass(seq))
}

// tell sends the client the session's error about its ack or nack. It does nothing if err is nil.
func (c *conn) tell(err error) {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		_ = c.write(protocol.FromError(refused))
	} else if err != nil {
		c.refuse(err)
	}
}

// attach handles a connection's first message, a join or a resume, and returns the outcome for the metric.
// ctx is cancelled when the client hangs up. Invalid messages, credentials and resume keys do not count for
// JoinRate, so that they cannot delay valid clients.
func (c *conn) attach(ctx context.Context, m *protocol.ClientMessage) (outcome string) {
	if m.Type != protocol.TypeJoin && m.Type != protocol.TypeResume {
		c.refuse(errGreeting)
		return string(session.CodeBadRequest)
	}
	var join session.Join
	var resume session.Resume
	var refused *session.Error
	var err error
	if m.Type == protocol.TypeJoin {
		join, refused = m.Join()
	} else {
		resume, refused = m.Resume()
	}
	if refused != nil {
		c.refuse(refused)
		return string(refused.Code)
	}
	if after, draining := c.hub.drainDelay(resume.ExpiresAt); draining {
		return c.askToReconnect(protocol.CloseDrain, protocol.ReasonDrain, after)
	}
	if wait := c.hub.config.Access.RateLimit(c.address); wait > 0 {
		return c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, wait)
	}
	if m.Type == protocol.TypeJoin {
		join.Caller, err = c.hub.config.Access.Authenticate(ctx, m.Auth)
	} else {
		err = c.hub.config.Sessions.Open(&resume)
	}
	if err != nil {
		return c.refuseAttach(ctx, err)
	}
	if wait := c.hub.admission.Delay(time.Now(), resume.ExpiresAt); wait > 0 {
		return c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, wait)
	}
	if m.Type == protocol.TypeJoin {
		outcome = "joined"
		c.attachment, err = c.hub.config.Sessions.Join(ctx, join, c)
	} else {
		outcome = "resumed"
		c.attachment, err = c.hub.config.Sessions.Resume(ctx, resume, c)
	}
	if err != nil {
		return c.refuseAttach(ctx, err)
	}
	c.attached.Store(true)
	return outcome
}

// refuseAttach tells the client why its join or resume is refused, unless the client has hung up, and returns
// the outcome for the metric.
func (c *conn) refuseAttach(ctx context.Context, err error) (outcome string) {
	if c.closing.Load() != 0 || ctx.Err() != nil {
		return "lost"
	}
	if _, ended := errors.AsType[*session.EndedError](err); ended {
		c.refuse(err)
		return "ended"
	}
	refused := public(err)
	if refused.Code == session.CodeRateLimited {
		return c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
	}
	c.refuse(err)
	return string(refused.Code)
}

// askToReconnect tells the client to reconnect after a delay, closes the connection, and returns the reason.
func (c *conn) askToReconnect(code protocol.CloseCode, reason string, after time.Duration) string {
	c.close(code, reason, protocol.Reconnect{Type: protocol.TypeReconnect, AfterMs: after.Milliseconds(), Reason: reason})
	return reason
}

// refuse tells the client why it is refused, and closes the connection. The client sees the text of err only if err is
// a *session.Error or a *session.EndedError.
func (c *conn) refuse(err error) {
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		c.close(protocol.CloseForReturn(ended.Reason), string(ended.Reason), protocol.FromEnding(ended.Ending))
		return
	}
	refused := public(err)
	if refused.Code == session.CodeInternal && !errors.Is(err, panics.ErrPanicked) { // panics are already logged
		c.hub.config.Logger.Error("request failed", "error", err)
	}
	if refused.RetryAfter > 0 && c.closing.Load() == 0 { // a message `reconnect` follows the error
		if c.write(protocol.FromError(refused)) == nil {
			c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
		}
		return
	}
	c.close(protocol.CloseForError(refused.Code), string(refused.Code), protocol.FromError(refused))
}

// public returns the error that the client sees instead of err.
func public(err error) *session.Error {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return refused
	}
	return session.Errorf(session.CodeInternal, "internal error; try again")
}
