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

// tryHandle handles one message. A panic closes the connection, as a failure of the
// server's.
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
	if !c.pay() {
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
		// The message of a newer client, perhaps: it is told, and goes on.
		return c.write(protocol.FromError(protocol.UnknownType(m.Type)))
	}
	return nil
}

// answer hands the seq of an ack or nack on. One that the session refuses is
// reported, and changes nothing.
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
// the client hangs up.
func (c *conn) attach(ctx context.Context, m *protocol.ClientMessage) (outcome string, err error) {
	if m.Type != protocol.TypeJoin && m.Type != protocol.TypeResume {
		return string(session.CodeBadRequest), c.refuse(errGreeting)
	}
	// What is not well formed is refused before it costs others their turn.
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
	if after, draining := c.hub.drainLeft(resume.ExpiresAt); draining {
		return protocol.ReasonDrain, c.sendAway(protocol.CloseDrain, protocol.ReasonDrain, after)
	}
	// The fair share of one client, or caller, before what the node can do for
	// all.
	if wait := c.hub.config.Access.Admit(c.address); wait > 0 {
		return protocol.ReasonOverload, c.sendAway(protocol.CloseOverload, protocol.ReasonOverload, wait)
	}
	// Without a valid credential or key, a client takes no turn of JoinRate.
	if m.Type == protocol.TypeJoin {
		join.Caller, err = c.hub.config.Access.Authenticate(ctx, m.Auth)
	} else {
		err = c.hub.config.Sessions.Open(&resume)
	}
	switch refused, _ := errors.AsType[*session.Error](err); {
	case refused != nil && refused.Code == session.CodeRateLimited:
		return protocol.ReasonOverload, c.sendAway(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
	case err != nil:
		return outcomeOf(err), c.refuse(err)
	}
	if wait := c.hub.admit.wait(resume.ExpiresAt); wait > 0 {
		return protocol.ReasonOverload, c.sendAway(protocol.CloseOverload, protocol.ReasonOverload, wait)
	}
	if m.Type == protocol.TypeJoin {
		outcome = "joined"
		c.attachment, err = c.hub.config.Sessions.Join(ctx, join, c)
	} else {
		outcome = "resumed"
		c.attachment, err = c.hub.config.Sessions.Resume(ctx, resume, c)
	}
	switch {
	case err != nil && (c.closing.Load() != 0 || ctx.Err() != nil): // it was gone before it had the answer
		return "lost", errClosing
	case err != nil:
		return outcomeOf(err), c.refuse(err)
	}
	c.attached.Store(true)
	return outcome, nil
}

// sendAway tells the client to connect again after a span.
func (c *conn) sendAway(code protocol.CloseCode, reason string, after time.Duration) error {
	return c.close(code, reason, protocol.Reconnect{Type: protocol.TypeReconnect, AfterMs: after.Milliseconds(), Reason: reason})
}

// refuse says why and closes the connection. err is a *session.Error or a
// *session.EndedError; what else it may be stays in the log.
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
		return c.sendAway(protocol.CloseOverload, protocol.ReasonOverload, refused.RetryAfter)
	}
	return c.close(protocol.CloseForError(refused.Code), string(refused.Code), protocol.FromError(refused))
}

// outcomeOf names a refusal for the metrics.
func outcomeOf(err error) string {
	if _, ok := errors.AsType[*session.EndedError](err); ok {
		return "ended"
	}
	return string(public(err).Code)
}

// public is what of err the client may see.
func public(err error) *session.Error {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return refused
	}
	return session.Errorf(session.CodeInternal, "the server failed; try again")
}
