package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Client is a client of the line protocol. If the simulated edge refuses a request, the error is an *Error. A Client
// is safe for concurrent use.
type Client struct {
	nc     net.Conn
	events mailbox
	gone   chan struct{} // closed when the reading goroutine has ended
	err    error         // why the reading goroutine ended; valid once gone is closed

	writing sync.Mutex // held while a line is written

	mu      sync.Mutex
	lastID  int64                // guarded by mu
	waiting map[int64]chan reply // guarded by mu; each channel has room for its reply
}

// ErrClosed is the error of requests on a client that was closed, by Close or because a request could not be sent.
var ErrClosed = errors.New("edge: client closed")

// Dial connects to a simulated edge over TCP.
func Dial(ctx context.Context, address string) (*Client, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("edge: dial: %w", err)
	}
	return NewClient(nc), nil
}

// NewClient returns a Client that uses an existing connection, such as one end of a [net.Pipe] whose other end
// [Edge.ServeConn] serves.
func NewClient(nc net.Conn) *Client {
	c := &Client{nc: nc, events: newMailbox(), gone: make(chan struct{}), waiting: make(map[int64]chan reply)}
	go c.read()
	return c
}

// Join joins a call, and reports whether the client may publish, which is always false outside RTC.
func (c *Client) Join(ctx context.Context, join JoinRequest) (publish bool, err error) {
	return c.ask(ctx, request{Op: opJoin, Leg: join.Leg, Channel: join.Channel, User: join.User, Token: join.Token})
}

// Renew replaces the token, and reports whether the client may publish now.
func (c *Client) Renew(ctx context.Context, leg Leg, token string) (publish bool, err error) {
	return c.ask(ctx, request{Op: opRenew, Leg: leg, Token: token})
}

// Leave ends the call on one leg, that is in one Agora service.
func (c *Client) Leave(ctx context.Context, leg Leg) error {
	_, err := c.ask(ctx, request{Op: opLeave, Leg: leg})
	return err
}

// Events returns the events of all legs (Agora services) of this client. A reader that falls 64
// events behind loses the oldest. The channel is closed when the connection has ended.
func (c *Client) Events() <-chan Event { return c.events }

// Close closes the connection, which breaks its calls. It returns when the reading goroutine has ended.
func (c *Client) Close() error {
	err := c.nc.Close()
	<-c.gone
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("edge: close: %w", err)
	}
	return nil
}

// Gone returns a channel that is closed when the connection has ended, for any reason.
func (c *Client) Gone() <-chan struct{} { return c.gone }

// ask sends a request and waits for the reply. If ctx ends before the reply comes, the edge may have executed the
// request or not.
func (c *Client) ask(ctx context.Context, q request) (publish bool, err error) {
	select {
	case <-c.gone:
		return false, c.err
	default:
	}
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.lastID++
	q.ID = c.lastID
	c.waiting[q.ID] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, q.ID)
		c.mu.Unlock()
	}()
	if err := c.write(ctx, encode(q)); err != nil {
		return false, err
	}
	select {
	case r := <-answer:
		return r.outcome()
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.gone:
		err = c.err
	}
	select {
	case r := <-answer: // the reply came at the same time as the end of ctx or of the connection, so the reply counts
		return r.outcome()
	default:
		return false, err
	}
}

func (r reply) outcome() (publish bool, err error) {
	if !r.OK {
		return false, &Error{Code: r.Code, Text: r.Error}
	}
	return r.Publish != nil && *r.Publish, nil
}

func (c *Client) write(ctx context.Context, line []byte) error {
	if len(line) > MaxLine {
		return refuse(CodeInvalidParams, "the line is longer than %d bytes", MaxLine)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	deadline := time.Now().Add(writeTimeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	c.nc.SetWriteDeadline(deadline)
	if _, err := c.nc.Write(line); err != nil {
		c.nc.Close() // a part of the line may have been sent, so no further line can follow
		return fmt.Errorf("edge: send: %w", err)
	}
	return nil
}

// read dispatches replies and events until the connection ends.
func (c *Client) read() {
	err := c.readLines()
	c.nc.Close()
	switch {
	case errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe):
		c.err = ErrClosed
	default:
		c.err = fmt.Errorf("edge: connection ended: %w", err)
	}
	c.events.close()
	close(c.gone)
}

func (c *Client) readLines() error {
	reader := newLineReader(c.nc)
	for {
		line, err := readLine(reader)
		if err != nil {
			return err
		}
		var in struct {
			reply
			Event // embedded, so that JSON fills "event", "leg" and "reason"
		}
		if err := json.Unmarshal(line, &in); err != nil {
			return fmt.Errorf("a line is not understood: %w", err)
		}
		if in.Name != "" {
			c.events.put(in.Event)
			continue
		}
		c.mu.Lock()
		answer := c.waiting[in.ID]
		delete(c.waiting, in.ID)
		c.mu.Unlock()
		if answer != nil { // nil if the ask for this id has already returned
			answer <- in.reply
		} else if in.ID == 0 {
			return fmt.Errorf("the edge could not decode a line: %s", in.Error)
		}
	}
}
