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
	errTooMany  = session.Errorf(session.CodeRateLimited, "too many messages; want at most %d a second", messagesPerSecond)
	errGreeting = session.Errorf(session.CodeBadRequest, "the first message must be a join or a resume")
	errJoined   = session.Errorf(session.CodeBadRequest, "this connection has its session; one connection per call")
)

// tryHandle handles one message. A panic closes the connection with CodeInternal.
func (c *conn) tryHandle(ctx context.Context, data []byte) (err error) {
	defer func() {
		if errors.Is(err, panics.ErrPanicked) {
			err = c.close(protocol.CloseForError(session.CodeInternal), string(session.CodeInternal), protocol.FromError(public(err)))
		}
	}()
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	return c.dispatch(ctx, data)
}

// dispatch does what one message asks for. An error ends the reader.
func (c *conn) dispatch(ctx context.Context, data []byte) error {
	if !c.charge() {
		return errClosing
	}
	m, malformed := protocol.DecodeClient(data)
	if malformed != nil {
		return c.refuse(malformed)
	}
	if c.attachment == nil {
		outcome, err := c.attach(ctx, &m)
		c.hub.metrics.joins.WithLabelValues(outcome).Inc()
		return err
	}
	switch m.Type {
	case protocol.TypeAck:
		return c.answer(&m, c.attachment.Ack)
	case protocol.TypeNack:
		return c.answer(&m, func(seq uint64) error {
			code, text := m.SDKError()
			return c.attachment.Nack(seq, code, text)
		})
	case protocol.TypeRenew:
		c.attachment.Renew()
	case protocol.TypeLeave:
		c.attachment.Leave()
	case protocol.TypePing:
		return c.write(protocol.Pong{Type: protocol.TypePong, Now: session.MilliOf(time.Now())})
	case protocol.TypeJoin, protocol.TypeResume:
		return c.write(protocol.FromError(errJoined))
	default:
		// The client may be newer than this node, so the connection stays open.
		return c.write(protocol.FromError(protocol.UnknownType(m.Type)))
	}
	return nil
}

// answer passes the seq of an ack or nack to tell. If the session refuses it, the client is
// sent the error.
func (c *conn) answer(m *protocol.ClientMessage, tell func(seq uint64) error) error {
	seq, missing := m.Answer()
	if missing != nil {
		return c.write(protocol.FromError(missing))
	}
	err := tell(seq)
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return c.write(protocol.FromError(refused))
	}
	return err
}

// attach takes the first message, a join or a resume, and names the outcome. ctx ends when
// the client hangs up. Only a well-formed message with a valid credential or key counts for
// JoinRate, so that invalid ones cannot use up the rate of the others.
func (c *conn) attach(ctx context.Context, m *protocol.ClientMessage) (outcome string, err error) {
	if m.Type != protocol.TypeJoin && m.Type != protocol.TypeResume {
		return string(session.CodeBadRequest), c.refuse(errGreeting)
	}
	var join session.Join
	var resume session.Resume
	var refused *session.Error
	if m.Type == protocol.TypeJoin {
		join, refused = m.Join()
	} else {
		resume, refused = m.Resume()
	}
	if refused != nil {
		return string(refused.Code), c.refuse(refused)
	}
	if after, draining := c.hub.drainDelay(resume.ExpiresAt); draining {
		return protocol.ReasonDrain, c.askToReconnect(protocol.CloseDrain, protocol.ReasonDrain, after)
	}
	if wait := c.hub.config.Access.Admit(c.address); wait > 0 {
		return protocol.ReasonOverload, c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, wait)
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
		return protocol.ReasonOverload, c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, wait)
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
	return outcome, nil
}

// refuseAttach refuses a join or resume, unless its client is gone, and names the outcome.
func (c *conn) refuseAttach(ctx context.Context, err error) (outcome string, _ error) {
	if c.closing.Load() != 0 || ctx.Err() != nil {
		return "lost", errClosing
	}
	if _, ended := errors.AsType[*session.EndedError](err); ended {
		return "ended", c.refuse(err)
	}
	refused := public(err)
	if refused.Code == session.CodeRateLimited {
		return protocol.ReasonOverload, c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
	}
	return string(refused.Code), c.refuse(err)
}

// askToReconnect tells the client when to connect again, and closes the connection.
func (c *conn) askToReconnect(code protocol.CloseCode, reason string, after time.Duration) error {
	return c.close(code, reason, protocol.Reconnect{Type: protocol.TypeReconnect, AfterMs: after.Milliseconds(), Reason: reason})
}

// refuse tells the client the reason and closes the connection. err is a *session.Error or
// a *session.EndedError; the client is not told the text of other errors.
func (c *conn) refuse(err error) error {
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		return c.close(protocol.CloseForReturn(ended.Reason), string(ended.Reason), protocol.FromEnding(ended.Ending))
	}
	refused := public(err)
	if refused.Code == session.CodeInternal {
		c.hub.config.Logger.Error("request failed", "error", err)
	}
	if refused.RetryAfter > 0 && c.closing.Load() == 0 { // it is told what is wrong, and when to come back
		if c.write(protocol.FromError(refused)) != nil {
			return errClosing
		}
		return c.askToReconnect(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
	}
	return c.close(protocol.CloseForError(refused.Code), string(refused.Code), protocol.FromError(refused))
}

// public returns what the client may see of err.
func public(err error) *session.Error {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return refused
	}
	return session.Errorf(session.CodeInternal, "the server failed; try again")
}
