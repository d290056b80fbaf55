package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Serve serves the line protocol on a listener. When ctx ends, it closes the listener and all connections, and returns
// nil after its goroutines have ended. It returns an error if the listener fails.
func (e *Edge) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		nc, err := listener.Accept()
		switch {
		case err == nil:
			connections.Go(func() { e.ServeConn(ctx, nc) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
			// The process has no file descriptors left now. The existing connections must survive that.
			e.log.Warn("accept failed", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		default:
			listener.Close()
			return fmt.Errorf("edge: accept a connection: %w", err)
		}
	}
}

const (
	acceptPause  = 100 * time.Millisecond
	writeTimeout = 10 * time.Second // after this time without reading a line, a client loses its connection
	maxUnsent    = 256              // number of lines; a client that has so many lines to read loses its connection
)

// ServeConn serves the line protocol on one connection, which may be a [net.Pipe], until the connection or ctx ends.
// When it returns, the connection is closed, its calls have ended, and it has left no goroutine.
func (e *Edge) ServeConn(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	c := &conn{edge: e, nc: nc, unsent: make(chan []byte, maxUnsent), calls: make(map[Leg]*Call)}
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.read()
	for _, call := range c.calls {
		call.Break()
	}
	// All calls have ended and read has returned, so no further line is sent.
	close(c.unsent)
	writer.Wait()
}

// conn is the connection of one client. The methods read and write run in one goroutine each; events come from any
// goroutine.
type conn struct {
	edge   *Edge
	nc     net.Conn
	unsent chan []byte
	calls  map[Leg]*Call // used only in the goroutine of read
}

// send queues a line. It must not block, since edge.mu may be held: if the queue is full, it closes the connection.
func (c *conn) send(v any) {
	select {
	case c.unsent <- encode(v):
	default:
		c.nc.Close()
	}
}

// write writes the queued lines until the channel `unsent` is closed. On a broken connection it only empties the queue.
func (c *conn) write() {
	var failed bool
	for line := range c.unsent {
		if failed {
			continue
		}
		c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.nc.Write(line); err != nil {
			failed = true
			c.nc.Close()
		}
	}
}

func (c *conn) read() {
	reader := newLineReader(c.nc)
	for {
		line, err := readLine(reader)
		if errors.Is(err, errLongLine) {
			c.refuse(0, refuse(CodeInvalidParams, "the line is longer than %d bytes", MaxLine))
			continue
		}
		if err != nil {
			return
		}
		q, refusal := parseRequest(line)
		if refusal == nil {
			refusal = c.do(q)
		}
		if refusal != nil {
			c.refuse(q.ID, refusal)
		}
	}
}

// do executes a request. It queues the answer to an accepted request itself, with edge.mu held, so that the answer
// comes before any event.
func (c *conn) do(q request) *Error {
	call := c.calls[q.Leg]
	accepted := func(publish bool) {
		answer := reply{ID: q.ID, OK: true}
		if q.Leg == RTC {
			answer.Publish = &publish
		}
		c.send(answer)
	}
	switch q.Op {
	case opJoin:
		if call != nil && call.InCall() {
			return refuse(CodeAlreadyJoined, "this connection is in a call on %s already", q.Leg)
		}
		joining := JoinRequest{Leg: q.Leg, Channel: q.Channel, User: q.User, Token: q.Token}
		joined, refusal := c.edge.join(joining, func(event Event) { c.send(event) }, nil, accepted)
		if refusal != nil {
			return refusal
		}
		if call != nil {
			// With this join the client gives up a dropped call in another channel. If the dropped call was in the same
			// channel, it has ended already, and Leave does nothing.
			_ = call.Leave()
		}
		c.calls[q.Leg] = joined
		return nil
	case opRenew:
		if call == nil {
			return refuse(CodeNotJoined, "not in a call on %s", q.Leg)
		}
		return call.renew(q.Token, accepted)
	default: // this is leave: parseRequest refuses all other operations
		if call == nil || call.Leave() != nil {
			return refuse(CodeNotJoined, "not in a call on %s", q.Leg)
		}
		c.send(reply{ID: q.ID, OK: true})
		return nil
	}
}

func (c *conn) refuse(id int64, refusal *Error) {
	c.send(reply{ID: id, Code: refusal.Code, Error: refusal.Text})
}
