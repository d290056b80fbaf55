package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// answerHeartbeat answers what was read, if that is a heartbeat and nothing else, in the 2 KiB
// of stack in which the connection waits. A heartbeat takes 14 µs by this, and 27 µs by the
// library and a goroutine with a deep stack. Nearly all that clients send is heartbeats. It
// returns false if the message is to be handled as others are.
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

// beginPong reports whether a heartbeat was read that can be answered at once. It has locked
// socket.writing then.
func (c *conn) beginPong() bool {
	s := c.socket
	if c.attachment == nil || c.closing.Load() != 0 || !isHeartbeat(s.ahead()) || !s.writing.TryLock() {
		return false
	}
	if s.ended != nil || !c.messages.take(c.hub.now()) {
		s.writing.Unlock()
		return false
	}
	s.raw.drop()
	return true
}

func isHeartbeat(data []byte) bool {
	var room short
	text, ok := room.readShort(textFrame, data)
	return ok && string(text) == protocol.PingText
}

func (c *conn) encodePong() *[]byte {
	frame := frames.Get().(*[]byte)
	*frame = append((*frame)[:0], textFrame, 0)
	*frame = protocol.AppendPong(*frame, session.MilliOf(time.Now()))
	(*frame)[1] = byte(len(*frame) - 2) // at most maxShort
	return frame
}

// endPong writes the rest of a frame that the kernel has not taken at once.
func (c *conn) endPong(frame *[]byte, rest []byte, err error) {
	if err == nil && len(rest) > 0 {
		err = c.socket.wait(rest, time.Now().Add(c.hub.writeTimeout))
	}
	c.socket.ended = err
	recycle(frame)
	c.socket.writing.Unlock()
	if err != nil {
		c.cut(codeOf(err)) // the next read fails
	}
	c.awaitMessage()
}
