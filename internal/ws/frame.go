package ws

import (
	"encoding/binary"
	"sync"

	"refresher/internal/protocol"
)

// First bytes of WebSocket frames (RFC 6455, section 5.2). This package writes all messages, and reads most messages
// that fit in a short frame, without the WebSocket library; each message is one frame. The library handles handshakes,
// other control frames, and messages that are long or fragmented.
const (
	textFrame  = 0x81 // the FIN bit is set, since the frame is a whole message
	closeFrame = 0x88
	pingFrame  = 0x89
	pongFrame  = 0x8a
	masked     = 0x80
	maxShort   = 125 // largest payload, in bytes, whose length fits in the frame's second byte
)

// frames is a pool of the buffers in which frames to clients are built. The longest common message is a push for three
// services; it has about 1,400 bytes.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// recycle returns a buffer to the pool `frames`, unless a long message has enlarged the buffer.
func recycle(frame *[]byte) {
	if cap(*frame) <= 16<<10 {
		frames.Put(frame)
	}
}

// appendText appends a text frame with the given text to the buffer b.
func appendText(b, text []byte) []byte {
	switch n := len(text); {
	case n <= maxShort:
		b = append(b, textFrame, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, textFrame, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, textFrame, 127), uint64(n))
	}
	return append(b, text...)
}

// appendClose appends a close frame to the buffer b. The text has at most 123 bytes.
func appendClose(b []byte, code protocol.CloseCode, text string) []byte {
	b = append(b, closeFrame, byte(2+len(text)), byte(code>>8), byte(code))
	return append(b, text...)
}

// short is a buffer that holds the payload of a short frame.
type short [maxShort]byte

// readShort returns the unmasked payload if the data is exactly one short frame whose first byte is `kind`, such as
// textFrame. Otherwise the result `ok` is false.
func (s *short) readShort(kind byte, data []byte) (payload []byte, ok bool) {
	const header = 6 // bytes: the first byte, the length, and a mask of 4 bytes
	if len(data) < header || data[0] != kind || len(data)-header > maxShort || data[1] != masked|byte(len(data)-header) {
		return nil, false
	}
	mask, rest := data[2:header], data[header:]
	for i := range rest {
		s[i] = rest[i] ^ mask[i%4]
	}
	return s[:len(rest)], true
}
