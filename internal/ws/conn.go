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
	socket  *socket       // the network connection below the WebSocket library
	address netip.Addr    // address of the client
	gone    chan struct{} // guarded by the shard's mutex; closed by Hub.remove; nil unless the hub drains

	place    *place       // entry in the shard; has the deadline for the client's next message
	heard    atomic.Int64 // time of the last message, on the hub's clock
	probing  atomic.Bool  // whether a ping was sent and is unanswered
	attached atomic.Bool  // whether the client has a session
	closing  atomic.Int32 // close code; 0 while the connection is open

	// The fields below belong to the connection's goroutine; see the method serve.
	attachment session.Attachment
	greeted    bool // whether the first message was received
	messages   allowance
}

func newConn(h *Hub, library *websocket.Conn, s *socket, from netip.Addr) *conn {
	c := &conn{hub: h, address: from, library: library, socket: s}
	s.conn = c
	return c
}

// charge counts one message for the message rate. If the client exceeds the rate, charge starts closing the connection
// and returns false; messages that still arrive are ignored. The connection is closed in the background, since the
// WebSocket library calls charge while it reads, and closing the connection during a read would deadlock.
func (c *conn) charge() bool {
	if c.messages.take(c.hub.now()) {
		return true
	}
	c.closeSoon(protocol.CloseForError(errTooMany.Code), string(errTooMany.Code), protocol.FromError(errTooMany))
	return false
}

// write sends one message. Any goroutine may call it. If the client has not taken the message within the write timeout,
// write closes the connection without a close frame. The timeout includes the wait for other writes.
func (c *conn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return c.writeText(data)
}

// writeText sends a message that is already encoded as JSON.
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

// send sends a frame. On an error it closes the connection at once, unless a close frame was already sent.
func (c *conn) send(frame []byte) error {
	err := c.socket.send(frame, time.Now().Add(c.hub.writeTimeout))
	if err != nil && !errors.Is(err, errClosing) {
		c.cut(codeOf(err))
	}
	return err
}

// codeOf returns the close code for a connection whose write failed with err.
func codeOf(err error) protocol.CloseCode {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return protocol.CloseTooSlow
	}
	return protocol.CloseAbnormal
}

// linger is how long the node waits for the client's answer to a close frame before it closes the connection. A short
// time is enough, since the kernel still delivers the data in the connection's send buffer after that.
const linger = 2 * time.Second

// close sends the message `last`, unless it is nil, and a close frame. Only the first call has an effect. The
// connection's goroutine ends when the client answers the close frame, or after linger.
func (c *conn) close(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.sendClose(code, text, last)
	}
}

// closeSoon does the same as close, in a new goroutine, for callers that a slow client must not block.
func (c *conn) closeSoon(code protocol.CloseCode, text string, last any) {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.inBackground(func() { c.sendClose(code, text, last) })
	}
}

// sendClose sends the message `last`, unless it is nil, and a close frame, in one write.
func (c *conn) sendClose(code protocol.CloseCode, text string, last any) {
	frame := frames.Get().(*[]byte)
	defer recycle(frame)
	*frame = (*frame)[:0]
	if last != nil {
		if data, err := json.Marshal(last); err == nil { // err is always nil, since the messages of the protocol can be encoded
			*frame = appendText(*frame, data)
		}
	}
	*frame = appendClose(*frame, code, text)
	if err := c.socket.sendLast(*frame, time.Now().Add(c.hub.writeTimeout)); err != nil {
		c.cut(codeOf(err))
		return
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(linger)) // fails only if the connection is already closed
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
	_ = c.socket.Close()     // this call comes first, since it ends a write in progress, for which CloseNow would wait
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

// CloseDead implements session.Client.
func (c *conn) CloseDead() { c.closeSoon(protocol.CloseLost, "no ack", nil) }
