package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// pingText is a heartbeat as both libraries write it.
const pingText = `{"type":"ping"}`

// isPing reports whether data is one heartbeat, in a frame by itself, as a client sends it
// (RFC 6455, section 5.2).
func isPing(data []byte) bool {
	const header = 6 // two bytes and the mask
	if len(data) != header+len(pingText) || data[0] != textFrame || data[1] != masked|byte(len(pingText)) {
		return false
	}
	for i := range len(pingText) {
		if data[header+i]^data[2+i%4] != pingText[i] {
			return false
		}
	}
	return true
}

const (
	textFrame = 0x81
	masked    = 0x80
)

// answerHeartbeat answers what was read, if that is a heartbeat and nothing else, in the 2 KiB
// of stack in which the connection waits; the library and a new goroutine take 5 µs more.
// Nearly all that clients send is heartbeats. It returns false if the message is to be
// handled as others are.
//
// It is written for its stack: functions that return before the write, and none that defers
// around it. TestStack holds it.
func (c *conn) answerHeartbeat() bool {
	if !c.beginPong() {
		return false
	}
	pong := c.encodePong()
	rest, err := c.socket.raw.write(*pong)
	c.endPong(pong, rest, err)
	return true
}

// beginPong reports whether a heartbeat was read that can be answered at once, and locks the
// connection for writing then.
func (c *conn) beginPong() bool {
	s := c.socket
	if s.raw == nil || c.attachment == nil || c.closing.Load() != 0 || !isPing(s.raw.unread) || !c.writing.TryLock() {
		return false
	}
	if s.isClosed() || !s.sending.TryLock() {
		c.writing.Unlock()
		return false
	}
	if !c.messages.take(c.hub.now()) {
		s.sending.Unlock()
		c.writing.Unlock()
		return false
	}
	s.raw.drop()
	return true
}

// encodePong returns a frame from gathered.
func (c *conn) encodePong() *[]byte {
	frame := gathered.Get().(*[]byte)
	*frame = append((*frame)[:0], textFrame, 0)
	*frame = protocol.AppendPong(*frame, session.MilliOf(time.Now()))
	(*frame)[1] = byte(len(*frame) - 2) // below 126
	return frame
}

// endPong writes the rest of a frame that the kernel has not taken at once.
func (c *conn) endPong(frame *[]byte, rest []byte, err error) {
	if err == nil && len(rest) > 0 {
		err = c.socket.wait(rest, time.Now().Add(c.hub.writeTimeout))
	}
	gathered.Put(frame)
	c.socket.sending.Unlock()
	c.writing.Unlock()
	if err != nil {
		c.cut(codeOf(err)) // the next read fails
	}
	c.awaitMessage()
}
