package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// conn is one client's connection. It implements session.Client.
type conn struct {
	hub     *Hub
	library *websocket.Conn
	socket  *socket       // under the library
	address netip.Addr    // the client's
	gone    chan struct{} // closed by Hub.remove; nil unless the hub drains; guarded by the shard's mutex

	place    *place       // in its shard; holds the deadline for the client's next message
	heard    atomic.Int64 // when the last message was handled, on the hub's clock
	probing  atomic.Bool  // a ping was sent and nothing has been received since
	attached atomic.Bool
	closing  atomic.Int32 // the close code; 0 while the connection is open

	// Owned by the connection's goroutine; see serve.
	attachment session.Attachment
	greeted    bool // the first message was received
	messages   allowance
}

func newConn(h *Hub, library *websocket.Conn, s *socket, from netip.Addr) *conn {
	c := &conn{hub: h, address: from, library: library, socket: s}
	s.conn = c
	return c
}

// charge counts one message for the message rate. It returns false if the rate is exceeded, and
// closes the connection; messages that arrive before the connection is closed are ignored. The
// library calls charge during a read, so charge must not close the library's connection itself:
// that would deadlock with the read.
func (c *conn) charge() bool {
	if c.messages.take(c.hub.now()) {
		return true
	}
	c.closeSoon(protocol.CloseForError(errTooMany.Code), string(errTooMany.Code), protocol.FromError(errTooMany))
	return false
}

// write sends one message. Any goroutine may call it. If the client does not read the message
// within the write timeout, which includes the wait for other writes, the connection is cut.
func (c *conn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return c.writeText(data)
}

// writeText sends a message that is already encoded.
func (c *conn) writeText(data []byte) error {
	if c.closing.Load() != 0 {
		return errClosing
	}
	frame := frames.Get().(*[]byte)
	defer recycle(frame)
	*frame = appendText((*frame)[:0], data)
	if err := c.send(*frame); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// send sends a frame. On an error it cuts the connection, unless a close frame was sent before.
func (c *conn) send(frame []byte) error {
	err := c.socket.send(frame, time.Now().Add(c.hub.writeTimeout))
	if err != nil && !errors.Is(err, errClosing) {
		c.cut(codeOf(err))
	}
	return err
}

// codeOf returns the close code of a connection whose write failed with err.
func codeOf(err error) protocol.CloseCode {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return protocol.CloseTooSlow
	}
	return protocol.CloseAbnormal
}

// linger is how long a client has to answer a close frame before its connection is closed
// anyway. The kernel still sends the data in its buffer afterwards.
const linger = 2 * time.Second

// close sends last, if it is not nil, and a close frame in one write. Only the first call has
// an effect. The connection's goroutine ends when the client answers, or after linger.
func (c *conn) close(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.sendClose(code, text, last)
	}
}

// closeSoon closes in the background, for callers that must not block on a slow client.
func (c *conn) closeSoon(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.inBackground(func() { c.sendClose(code, text, last) })
	}
}

// sendClose sends last, if it is not nil, and a close frame.
func (c *conn) sendClose(code protocol.CloseCode, text string, last any) {
	frame := frames.Get().(*[]byte)
	defer recycle(frame)
	*frame = (*frame)[:0]
	if last != nil {
		if data, err := json.Marshal(last); err == nil { // never fails for the protocol's messages
			*frame = appendText(*frame, data)
		}
	}
	*frame = appendClose(*frame, code, text)
	if err := c.socket.sendLast(*frame, time.Now().Add(c.hub.writeTimeout)); err != nil {
		c.cut(codeOf(err))
		return
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(linger)) // fails when the connection is closed
}

// inBackground runs f in a new goroutine. A panic in f ends the connection.
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
	_ = c.socket.Close()     // CloseNow alone would wait for a write in progress
	_ = c.library.CloseNow() // fails only if the connection is already closed
}

// Joined implements session.Client.
func (c *conn) Joined(j session.Joined) error {
	return c.write(protocol.FromJoined(j, c.hub.config.Heartbeat))
}

// Push implements session.Client.
func (c *conn) Push(p session.Push) error { return c.write(protocol.FromPush(p)) }

// End implements session.Client.
func (c *conn) End(e session.Ending) {
	c.closeSoon(protocol.CloseForEnd(e.Reason), string(e.Reason), protocol.FromEnding(e))
}

// Lost implements session.Client.
func (c *conn) CloseDead() { c.closeSoon(protocol.CloseLost, "no ack", nil) }
