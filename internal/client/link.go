package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// link is one connection of a Client.
type link struct {
	client *Client
	socket *websocket.Conn

	last    string          // the type of the last message
	refusal *protocol.Error // if that is an error
	ended   *protocol.Ended // if that is an ended
	moveAt  time.Time       // set by reconnect

	move      *time.Timer  // fires at moveAt
	heartbeat *time.Ticker // sends pings
	silence   *time.Timer  // fires when the server has been silent for too long
	waiting   bool         // silence runs
}

// errMove ends a connection because the server asked for another one.
var errMove = errors.New("moving to another connection")

// ErrUnknownSession is the loss of a session that the service does not know. The
// client joins afresh.
var ErrUnknownSession = errors.New("the service does not know the session")

// run greets and stays on the connection to its end, and says why it ended.
func (l *link) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	l.move = stopped(time.NewTimer(time.Hour))
	l.heartbeat = time.NewTicker(time.Hour) // until joined says how often
	l.silence, l.waiting = time.NewTimer(AnswerTimeout), true
	incoming := make(chan []byte)
	broken := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		broken <- l.read(ctx, incoming)
	}()
	defer func() {
		cancel()
		<-done
		l.move.Stop()
		l.heartbeat.Stop()
		l.silence.Stop()
	}()
	if err := l.send(ctx, l.client.greeting()); err != nil {
		return err
	}
	return l.loop(ctx, incoming, broken)
}

func stopped(t *time.Timer) *time.Timer {
	t.Stop()
	return t
}

func (l *link) loop(ctx context.Context, incoming <-chan []byte, broken <-chan error) error {
	for {
		var err error
		select {
		case data := <-incoming:
			l.silence.Stop()
			l.waiting = false
			err = l.handle(ctx, data)
		case err = <-broken:
		case <-l.move.C:
			_ = l.socket.Close(websocket.StatusGoingAway, "reconnect") // the session goes on elsewhere
			err = errMove
		case <-l.heartbeat.C:
			if !l.waiting { // a shorter heartbeat must not put it off for ever
				l.silence.Reset(AnswerTimeout)
				l.waiting = true
			}
			err = l.send(ctx, protocol.ClientMessage{Type: protocol.TypePing})
		case <-l.silence.C:
			err = errors.New("the server does not answer")
		case <-l.client.renew:
			if l.client.overdue(time.Now()) {
				err = l.send(ctx, protocol.ClientMessage{Type: protocol.TypeRenew})
			}
		case <-l.client.leave:
			err = l.send(ctx, protocol.ClientMessage{Type: protocol.TypeLeave})
		case <-ctx.Done():
			_ = l.socket.Close(websocket.StatusGoingAway, "") // the caller is going
			err = ctx.Err()
		}
		if err != nil {
			return l.outcome(err)
		}
	}
}

// read hands on what the server says, until the connection ends.
func (l *link) read(ctx context.Context, incoming chan<- []byte) error {
	for {
		_, data, err := l.socket.Read(ctx)
		if err != nil {
			return err
		}
		select {
		case incoming <- data:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outcome is what the end of a connection means.
func (l *link) outcome(err error) error {
	code := protocol.CloseCode(websocket.CloseStatus(err))
	switch then := code.After(l.last); {
	case then == protocol.JoinAfresh && l.client.key != "":
		return ErrUnknownSession
	case then != protocol.Retry && l.ended != nil:
		return &EndedError{*l.ended}
	case then != protocol.Retry:
		return &ClosedError{Code: code, Refusal: l.refusal}
	case !l.moveAt.IsZero():
		return errMove
	default:
		return err
	}
}

func (l *link) send(ctx context.Context, m protocol.ClientMessage) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.Type, err)
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	if err := l.socket.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("send %s: %w", m.Type, err)
	}
	return nil
}

// handle does what one message of the server asks for.
func (l *link) handle(ctx context.Context, data []byte) error {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	l.last, l.refusal, l.ended = head.Type, nil, nil
	switch head.Type {
	case protocol.TypeJoined:
		var m protocol.Joined
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("read joined: %w", err)
		}
		return l.joined(ctx, m)
	case protocol.TypeWillExpire, protocol.TypeDidExpire:
		var m protocol.TokenPrivilege
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("read %s: %w", head.Type, err)
		}
		return l.apply(ctx, Bundle{TokenPrivilege: m})
	case protocol.TypeReconnect:
		var m protocol.Reconnect
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("read reconnect: %w", err)
		}
		after := time.Duration(m.AfterMs) * time.Millisecond
		l.moveAt = time.Now().Add(after)
		l.move.Reset(after)
	case protocol.TypeEnded:
		l.ended = new(protocol.Ended)
		return json.Unmarshal(data, l.ended)
	case protocol.TypeError:
		l.refusal = new(protocol.Error)
		if err := json.Unmarshal(data, l.refusal); err != nil {
			return fmt.Errorf("read error: %w", err)
		}
		l.client.config.Notice(Notice{Kind: Refused, Err: fmt.Errorf("%s: %s", l.refusal.Code, l.refusal.Message)})
	}
	return nil // pong, and messages of a newer server
}

// joined takes note of the session and applies its tokens.
func (l *link) joined(ctx context.Context, m protocol.Joined) error {
	c := l.client
	c.session, c.key, c.joinedAt = m.Session, m.Key, time.Now()
	c.renewBefore = time.Duration(m.RenewBefore) * time.Second
	c.lead = time.Until(m.Now.Time())
	if m.Heartbeat > 0 {
		l.heartbeat.Reset(time.Duration(m.Heartbeat) * time.Second)
	}
	c.config.Notice(Notice{Kind: Connected})
	action := m.Action
	if !m.Resumed && c.expiresAt != 0 { // a new session for a call that goes on
		if action = protocol.ActionRenew; c.expiresAt.Milli() <= m.Now {
			action = protocol.ActionRejoin
		}
	}
	return l.apply(ctx, Bundle{TokenPrivilege: protocol.TokenPrivilege{
		Type: m.Type, Seq: m.Seq, Tokens: m.Tokens, PreviousExpiresAt: c.expiresAt,
		Action: action, Attempt: 1, Now: m.Now,
	}})
}

// apply hands tokens on and tells the server how that went.
func (l *link) apply(ctx context.Context, b Bundle) error {
	c := l.client
	if b.Seq < c.seq {
		return nil // older than what is applied already
	}
	if b.Seq == c.seq { // the ack was lost
		return l.send(ctx, protocol.ClientMessage{Type: protocol.TypeAck, Seq: &b.Seq})
	}
	b.First = c.expiresAt == 0 // also in a push, if the tokens of joined were not taken
	if err := c.config.Apply(ctx, b); err != nil {
		if errors.Is(err, ErrSilent) {
			return nil
		}
		return l.send(ctx, protocol.ClientMessage{Type: protocol.TypeNack, Seq: &b.Seq, Code: "APPLY_FAILED", Message: err.Error()})
	}
	c.seq, c.expiresAt = b.Seq, b.ExpiresAt()
	return l.send(ctx, protocol.ClientMessage{Type: protocol.TypeAck, Seq: &b.Seq})
}
