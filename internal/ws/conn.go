package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// conn is one client's connection. It implements session.Client.
type conn struct {
	hub     *Hub
	socket  *websocket.Conn
	net     *guardedConn  // under the socket
	address netip.Addr    // the client's
	gone    chan struct{} // closed when the reader has ended
	handled chan error    // a worker's result; buffered, so that no worker waits for the reader

	deadline atomic.Int64 // for the client's next message, on the hub's clock
	heard    atomic.Int64 // when the client's last message had been handled, on the hub's clock
	probing  atomic.Bool  // a ping was sent, and the time to answer it is not over
	attached atomic.Bool
	closing  atomic.Int32 // the close code; 0 while the connection is open

	writing sync.Mutex // held while a message is written

	attachment session.Attachment // used by the worker that handles a message, or the reader if none does
	messages   *rate.Limiter
}

func newConn(h *Hub, socket *websocket.Conn, n *guardedConn, from netip.Addr) *conn {
	c := &conn{
		hub: h, address: from, socket: socket, net: n, gone: make(chan struct{}), handled: make(chan error, 1),
		messages: rate.NewLimiter(messagesPerSecond, messageBurst),
	}
	n.conn = c
	c.deadline.Store(int64(h.now() + joinTimeout))
	return c
}

// charge counts one message for the client's rate, and closes the connection if the rate is
// exceeded. Until the connection has closed, further messages are read and ignored.
func (c *conn) charge() bool {
	if c.messages.Allow() {
		return true
	}
	_ = c.refuse(errTooMany)
	return false
}

// serve reads until the connection ends. It is the connection's goroutine.
func (c *conn) serve() {
	defer c.hub.running.Done()
	defer close(c.gone)
	defer c.hub.remove(c)
	err := c.readAll()
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.lost(err)
	code := protocol.CloseCode(c.closing.Load())
	c.hub.metrics.closed(code)
	c.hub.config.Logger.Debug("connection closed", "code", int(code), "error", err)
}

// lost records that the client closed the connection, or that it broke, unless this side
// has closed it before.
func (c *conn) lost(err error) {
	closed, ok := errors.AsType[websocket.CloseError](err)
	code := protocol.CloseCode(closed.Code)
	switch {
	case !ok:
		code = protocol.CloseAbnormal
	case !utf8.ValidString(closed.Reason):
		code = protocol.CloseNotUTF8 // as it was answered, see guardedConn
	}
	if c.closing.CompareAndSwap(0, int32(code)) {
		_ = c.socket.CloseNow() // frees what the library holds; it may be closed already
	} else if ok {
		// A write has failed before, because the client had closed the connection.
		c.closing.CompareAndSwap(int32(protocol.CloseAbnormal), int32(code))
	}
}

// write sends one message, from any goroutine. The connection of a
// client that does not read it within the write timeout is cut. The timeout includes the wait for other writes.
func (c *conn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	by := time.Now().Add(c.hub.writeTimeout)
	c.writing.Lock()
	defer c.writing.Unlock()
	c.net.begin(by)
	err = c.socket.Write(context.Background(), websocket.MessageText, data)
	c.net.end()
	if err != nil {
		code := protocol.CloseAbnormal
		if errors.Is(err, os.ErrDeadlineExceeded) {
			code = protocol.CloseTooSlow
		}
		c.cut(code)
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// close sends last, unless it is nil, and closes the connection with code. It does not
// wait for that. Only the first call has an effect. It returns errClosing, for the reader to
// return.
func (c *conn) close(code protocol.CloseCode, text string, last any) error {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.inBackground(func() {
			if last != nil && c.write(last) != nil {
				return // it is cut off already
			}
			// Inside a frame the library waits for the answer without a deadline.
			_ = c.net.SetReadDeadline(time.Now().Add(c.hub.writeTimeout))
			_ = c.socket.Close(websocket.StatusCode(code), text) // a client that is gone does not answer
		})
	}
	return errClosing
}

// inBackground runs f in a goroutine of its own. A panic in it ends the connection.
func (c *conn) inBackground(f func()) {
	c.hub.running.Go(func() {
		var failed error
		defer func() {
			if failed != nil {
				c.cut(protocol.CloseAbnormal)
			}
		}()
		defer c.hub.config.Panics.Recover(panics.Connection, &failed)
		f()
	})
}

// cut closes the connection without a close frame.
func (c *conn) cut(code protocol.CloseCode) {
	c.closing.CompareAndSwap(0, int32(code))
	_ = c.net.Close()       // CloseNow alone would wait for a Close that is under way
	_ = c.socket.CloseNow() // only fails when it is closed
}

// Joined implements session.Client.
func (c *conn) Joined(j session.Joined) error {
	return c.write(protocol.FromJoined(j, c.hub.config.Heartbeat))
}

// Push implements session.Client.
func (c *conn) Push(p session.Push) error { return c.write(protocol.FromPush(p)) }

// End implements session.Client.
func (c *conn) End(e session.Ending) {
	_ = c.close(protocol.CloseForEnd(e.Reason), string(e.Reason), protocol.FromEnding(e))
}

// Lost implements session.Client.
func (c *conn) Lost() { _ = c.close(protocol.CloseLost, "no ack", nil) }
