package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// answerHeartbeat answers the client's heartbeat, if the input is exactly one heartbeat. It
// returns false for any other input. Most messages are heartbeats, so they are answered within
// the 2 KiB stack of the waiting goroutine: 14 µs each, instead of 27 µs by way of the library
// and a goroutine with a larger stack.
//
// To keep the stack small, helper functions return before the write, and nothing is deferred
// around it. TestStack notices if the stack grows.
func (c *conn) answerHeartbeat() bool {
	if !c.beginPong() {
		return false
	}
	pong := c.encodePong()
	rest, err := c.socket.raw.write(*pong)
	c.endPong(pong, rest, err)
	return true
}

// beginPong reports whether the input is a heartbeat that can be answered at once. If so, it
// returns with socket.writing locked.
func (c *conn) beginPong() bool {
	s := c.socket
	if c.attachment == nil || c.closing.Load() != 0 || !isHeartbeat(s.peek()) || !s.writing.TryLock() {
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

// endPong writes the part of the frame that the kernel did not accept at once, and unlocks
// socket.writing.
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
