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
	gone    chan struct{} // closed by Hub.remove; nil unless the hub drains; guarded by the shard's lock

	place    *place       // in the hub; has the deadline for the client's next message
	heard    atomic.Int64 // when the client's last message had been handled, on the hub's clock
	probing  atomic.Bool  // a ping was sent, and nothing has come since
	attached atomic.Bool
	closing  atomic.Int32 // the close code; 0 while the connection is open

	// For the connection's goroutine, see serve.
	attachment session.Attachment
	greeted    bool // the first message has come
	messages   allowance
}

func newConn(h *Hub, library *websocket.Conn, s *socket, from netip.Addr) *conn {
	c := &conn{hub: h, address: from, library: library, socket: s}
	s.conn = c
	return c
}

// charge counts one message for the client's rate, and closes the connection if the rate is
// exceeded. Until the connection has closed, further messages are read and ignored. The library
// calls it while it reads: closing the library there would wait for that read, forever.
func (c *conn) charge() bool {
	if c.messages.take(c.hub.now()) {
		return true
	}
	c.closeSoon(protocol.CloseForError(errTooMany.Code), string(errTooMany.Code), protocol.FromError(errTooMany))
	return false
}

// write sends one message, from any goroutine. The connection of a client that does not read
// it within the write timeout is cut. The timeout includes the wait for other writes.
func (c *conn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return c.writeText(data)
}

// writeText is write for an encoded message.
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

// send sends a frame. If that fails, it cuts the connection, unless a close frame was sent.
func (c *conn) send(frame []byte) error {
	err := c.socket.send(frame, time.Now().Add(c.hub.writeTimeout))
	if err != nil && !errors.Is(err, errClosing) {
		c.cut(codeOf(err))
	}
	return err
}

// codeOf is how a connection ends whose write failed.
func codeOf(err error) protocol.CloseCode {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return protocol.CloseTooSlow
	}
	return protocol.CloseAbnormal
}

// linger is how long a client has to answer a close frame, before its connection is closed all
// the same. What the kernel has not sent by then it still sends.
const linger = 2 * time.Second

// close sends last, unless it is nil, and a close frame, in one write. Only the first call has
// an effect. The connection's goroutine ends it when the client answers, or after linger.
func (c *conn) close(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.sayGoodbye(code, text, last)
	}
}

// closeSoon is close for a caller that must not wait for a client who does not read.
func (c *conn) closeSoon(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.inBackground(func() { c.sayGoodbye(code, text, last) })
	}
}

// sayGoodbye sends last, unless it is nil, and a close frame.
func (c *conn) sayGoodbye(code protocol.CloseCode, text string, last any) {
	frame := frames.Get().(*[]byte)
	defer recycle(frame)
	*frame = (*frame)[:0]
	if last != nil {
		if data, err := json.Marshal(last); err == nil { // as each of them can be
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
	_ = c.socket.Close()     // CloseNow alone would wait for a write that is under way
	_ = c.library.CloseNow() // only fails when it is closed
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
func (c *conn) Lost() { c.closeSoon(protocol.CloseLost, "no ack", nil) }
