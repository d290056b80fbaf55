package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// answerHeartbeat answers the input if the input is exactly one heartbeat, a ping message; otherwise it returns false.
// Most messages are heartbeats. An answer within the 2 KiB stack of the waiting goroutine takes 14 µs. Through the
// WebSocket library and a goroutine with a larger stack, an answer would take 27 µs.
//
// To keep the stack small, the helper functions return before the write, and the write happens in no function with a
// defer. TestStack fails if the stack grows.
func (c *conn) answerHeartbeat() bool {
	if !c.beginPong() {
		return false
	}
	pong := c.encodePong()
	rest, err := c.socket.raw.write(*pong)
	c.endPong(pong, rest, err)
	return true
}

// beginPong reports whether the input is a heartbeat that can be answered at once. If it is, beginPong has locked
// socket.writing, and the caller must unlock it.
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
	(*frame)[1] = byte(len(*frame) - 2) // a pong is never longer than maxShort, so its length fits in one byte
	return frame
}

// endPong writes the part of the frame that the kernel did not take at once, and unlocks socket.writing.
func (c *conn) endPong(frame *[]byte, rest []byte, err error) {
	if err == nil && len(rest) > 0 {
		err = c.socket.wait(rest, time.Now().Add(c.hub.writeTimeout))
	}
	c.socket.ended = err
	recycle(frame)
	c.socket.writing.Unlock()
	if err != nil {
		c.cut(codeOf(err)) // makes the next read fail, which ends the connection
	}
	c.awaitMessage()
}
