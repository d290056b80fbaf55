package ws

import (
	"encoding/binary"
	"sync"

	"refresher/internal/protocol"
)

// First bytes of WebSocket frames (RFC 6455, section 5.2). This package writes all messages and
// reads short ones by itself, one frame for each message. The library does the rest: handshakes,
// long and fragmented messages of clients, and control frames.
const (
	textFrame  = 0x81 // with the FIN bit: a whole message
	closeFrame = 0x88
	pingFrame  = 0x89
	pongFrame  = 0x8a
	masked     = 0x80
	maxShort   = 125 // bytes in a frame whose length takes one byte
)

// frames is a pool of buffers for frames to clients. The longest common message, a push for
// three services, has about 1,400 bytes.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// recycle puts a buffer back into frames, unless a rare long message has made it large.
func recycle(frame *[]byte) {
	if cap(*frame) <= 16<<10 {
		frames.Put(frame)
	}
}

// appendText appends a text message.
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

// appendClose appends a close frame. text has at most 123 bytes.
func appendClose(b []byte, code protocol.CloseCode, text string) []byte {
	b = append(b, closeFrame, byte(2+len(text)), byte(code>>8), byte(code))
	return append(b, text...)
}

// short is a buffer for the payload of a short frame.
type short [maxShort]byte

// readShort returns the unmasked payload if data is exactly one short frame of the given kind,
// such as textFrame.
func (s *short) readShort(kind byte, data []byte) (payload []byte, ok bool) {
	const header = 6 // two bytes and the mask
	if len(data) < header || data[0] != kind || len(data)-header > maxShort || data[1] != masked|byte(len(data)-header) {
		return nil, false
	}
	mask, rest := data[2:header], data[header:]
	for i := range rest {
		s[i] = rest[i] ^ mask[i%4]
	}
	return s[:len(rest)], true
}
