package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	machine "refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// credentialTimeout limits a call of Config.Credential.
const credentialTimeout = 30 * time.Second

// run drives the state machine during one Client.Run. Only the method loop accesses the fields. A goroutine that reads
// the connection and a goroutine that calls Apply send events to loop.
type run struct {
	*Client
	join    protocol.ClientMessage
	machine machine.Machine
	conn    *connection // nil if there is none
	events  chan event
	applied chan error      // transports the result of Apply
	io      context.Context // context of all connections; cancelled when loop returns
	started sync.WaitGroup  // the goroutines
	closing sync.WaitGroup  // counts connections that are being closed after a reconnect request
}

// event passes an event of the connection to the state machine. The method loop calls each event.
type event func(now time.Time) machine.Step

// connection is one WebSocket, or an attempt to open one.
type connection struct {
	ctx    context.Context
	cancel context.CancelFunc
	auth   string          // the credential; empty if the connection begins with a resume
	socket *websocket.Conn // nil until the WebSocket is open
	err    error           // why the connection was closed
}

func (r *run) loop(ctx context.Context) error {
	defer r.started.Wait()
	apps, stop := context.WithCancel(ctx)
	defer stop()
	var cancel context.CancelFunc
	// r.io outlives ctx, so that a connection can still be closed with a close frame when ctx is done.
	r.io, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer r.closing.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Stop()
		if next := r.machine.Next(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		var happened event
		select {
		case <-ctx.Done():
			if c := r.conn; c != nil && c.socket != nil {
				_ = c.socket.Close(websocket.StatusGoingAway, "") // with this close code the service keeps the session open
			}
			return ctx.Err()
		case <-timer.C:
			happened = r.machine.Wake
		case happened = <-r.events:
		case err := <-r.applied:
			happened = func(time.Time) machine.Step { return r.machine.Applied(err) }
		case <-r.renew:
			happened = r.machine.Renew
		case <-r.leave:
			happened = r.machine.Leave
		}
		now := time.Now()
		r.do(r.machine.CheckLate(now)) // this may drop the connection: then the event `happened` has no effect if it is one of that connection
		step := happened(now)
		r.do(step)
		if t := step.Apply; t != nil {
			r.started.Go(func() { r.applied <- r.config.Apply(apps, tokens(t)) })
		}
		if end := step.End; end != nil {
			if end.Unheard != nil {
				r.leaveOverHTTP(ctx, end.Unheard)
			}
			return outcome(end)
		}
	}
}

// leaveOverHTTP ends the session by an HTTP request, since the leave message could not be sent. If the request fails,
// too, the session lasts until its tokens have expired.
func (r *run) leaveOverHTTP(ctx context.Context, m *protocol.ClientMessage) {
	ctx, cancel := context.WithTimeout(ctx, machine.AnswerTimeout)
	defer cancel()
	if err := r.postLeave(ctx, m); err != nil {
		r.notify(Event{Kind: Refused, Err: fmt.Errorf("leave over HTTP: %w", err)})
	}
}

func (r *run) postLeave(ctx context.Context, m *protocol.ClientMessage) error {
	sessions := strings.TrimSuffix("http"+strings.TrimPrefix(r.config.URL, "ws"), "/ws") + "/sessions/"
	body, err := json.Marshal(struct {
		Seq       *uint64         `json:"seq"`
		ExpiresAt session.UnixSec `json:"expiresAt"`
	}{m.Seq, m.ExpiresAt})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, sessions+url.PathEscape(m.Session)+"/leave", bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+m.Key)
	q.Header.Set("Content-Type", "application/json")
	answer, err := cmp.Or(r.config.HTTPClient, http.DefaultClient).Do(q)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		return errors.New(answer.Status)
	}
	return nil
}

func outcome(e *machine.End) error {
	switch {
	case e.Left:
		return nil
	case e.Last == nil:
		return &DeniedError{CloseCode: int(e.Code)}
	case e.Last.Type == protocol.TypeEnded:
		ended := &EndedError{Reason: e.Last.Reason}
		if at := e.Last.AccessEndsAt; at != 0 {
			ended.AccessEndsAt = at.Time()
		}
		return ended
	default:
		return &DeniedError{CloseCode: int(e.Code), Code: string(e.Last.Code), Message: e.Last.Message}
	}
}

// do carries out a step that the state machine has returned, except the fields Apply and End, which the method loop
// carries out.
func (r *run) do(s machine.Step) {
	conn := r.conn
	if s.Drop && conn != nil {
		r.drop(conn, s.Lost)
	}
	if s.Lost != "" {
		r.conn = nil
		r.notify(lost(conn, s.Lost, r.machine.Next()))
	}
	if s.Connect {
		r.connect()
	}
	if s.Send != nil {
		r.send(s.Send)
	}
}

func (r *run) notify(e Event) {
	e.Session = r.machine.Session()
	r.config.Notify(e)
}

func lost(c *connection, why machine.Loss, next time.Time) Event {
	e := Event{Kind: Lost, Err: c.err, After: max(0, time.Until(next))}
	switch why {
	case machine.Broken:
	case machine.Silent:
		e.Err = errors.New("no answer of the service in time")
	case machine.Moving:
		e.Kind, e.Err = Moved, nil
	case machine.Forgotten:
		e.Err = ErrUnknownSession
	}
	return e
}

// drop closes a connection: with a close frame if the service told the client to reconnect, otherwise without one.
func (r *run) drop(c *connection, why machine.Loss) {
	if why != machine.Moving {
		c.cancel()
		return
	}
	r.closing.Go(func() {
		defer c.cancel()
		_ = c.socket.Close(websocket.StatusGoingAway, "reconnect") // with this close code the service keeps the session open
	})
}

// post sends an event of connection c to the method loop. The event has no effect if c was dropped.
func (r *run) post(c *connection, e event) {
	select {
	case r.events <- func(now time.Time) machine.Step {
		if r.conn != c {
			return machine.Step{}
		}
		return e(now)
	}:
	case <-c.ctx.Done():
	}
}

// connect starts a goroutine that opens a connection and reads it until it is closed.
func (r *run) connect() {
	c := &connection{}
	c.ctx, c.cancel = context.WithCancel(r.io)
	r.conn = c
	joins := r.machine.Joins()
	r.started.Go(func() {
		defer c.cancel()
		code, err := r.serve(c, joins)
		r.post(c, func(now time.Time) machine.Step {
			c.err = err
			return r.machine.Closed(now, code)
		})
	})
}

// serve opens a connection and passes the service's messages to the method loop. It returns the close code, or 0 if
// there is none, and the error that ended the connection.
func (r *run) serve(c *connection, joins bool) (protocol.CloseCode, error) {
	auth := ""
	if joins && r.config.Credential != nil {
		ctx, cancel := context.WithTimeout(c.ctx, credentialTimeout)
		defer cancel()
		var err error
		if auth, err = r.config.Credential(ctx); err != nil {
			return 0, fmt.Errorf("fetch a credential: %w", err)
		}
	}
	dialing, cancel := context.WithTimeout(c.ctx, machine.AnswerTimeout)
	defer cancel()
	socket, response, err := websocket.Dial(dialing, r.config.URL, &websocket.DialOptions{
		HTTPClient: r.config.HTTPClient, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		var code protocol.CloseCode
		if response != nil && response.StatusCode == http.StatusForbidden {
			code = protocol.CloseForbidden
		}
		return code, fmt.Errorf("connect: %w", dialError(response, err))
	}
	defer socket.CloseNow() //nolint:errcheck // it may be closed already
	r.post(c, func(now time.Time) machine.Step {
		c.auth, c.socket = auth, socket
		return r.machine.Opened(now)
	})
	for {
		_, data, err := socket.Read(c.ctx)
		if err != nil {
			return max(0, protocol.CloseCode(websocket.CloseStatus(err))), readError(err)
		}
		m, err := machine.Decode(data)
		if err != nil {
			return 0, fmt.Errorf("read message: %w", err)
		}
		r.post(c, func(now time.Time) machine.Step { return r.received(now, m) })
	}
}

// readError returns the cause of a failed read, without the library's words about its own steps.
func readError(err error) error {
	if closed, ok := errors.AsType[websocket.CloseError](err); ok {
		return errors.New(strings.TrimSuffix(fmt.Sprintf("closed with %d: %s", closed.Code, closed.Reason), ": "))
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return fmt.Errorf("the connection broke: %w", err)
}

func (r *run) received(now time.Time, m *machine.Message) machine.Step {
	before := r.machine.State()
	step := r.machine.Received(now, m)
	if before != machine.Live && r.machine.State() == machine.Live {
		r.notify(Event{Kind: Connected})
	}
	if m.Type == protocol.TypeError {
		r.notify(Event{Kind: Refused, Err: fmt.Errorf("%s: %s", m.Code, m.Message)})
	}
	return step
}

// send writes a message. If that fails, the connection's reader fails too, and reports the loss.
func (r *run) send(m *protocol.ClientMessage) {
	if m.Type == protocol.TypeJoin {
		*m = r.join
		m.Auth = r.conn.auth
	}
	ctx, cancel := context.WithTimeout(r.conn.ctx, machine.AnswerTimeout)
	defer cancel()
	_ = wsjson.Write(ctx, r.conn.socket, m)
}

func tokens(b *machine.Message) Tokens {
	text := func(t *protocol.Token) string {
		if t == nil {
			return ""
		}
		return t.Token
	}
	return Tokens{
		Action: Action(b.Action), RTC: text(b.Tokens.RTC), RTM: text(b.Tokens.RTM), Chat: text(b.Tokens.Chat),
		ExpiresAt: b.ExpiresAt().Time(), Seq: b.Seq, Attempt: b.Attempt, Cause: b.Cause,
	}
}
