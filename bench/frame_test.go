//go:build linux

package bench

import "encoding/binary"

// Opcodes of WebSocket frames, RFC 6455.
const (
	opText  = 0x1
	opClose = 0x8
)

// closeOverload is the payload of a close frame with code 1013.
const closeOverload = "\x03\xf5"

// frame returns a whole WebSocket frame. A client's frame is masked with zeros, which takes almost no time.
func frame(op byte, text string, masked bool) []byte {
	f := []byte{0x80 | op}
	if len(text) < 126 {
		f = append(f, byte(len(text)))
	} else {
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(len(text)))
	}
	if masked {
		f[1] |= 0x80
		f = append(f, 0, 0, 0, 0)
	}
	return append(f, text...)
}

// unframe returns the first frame of b, and the rest of b. The opcode is 0 if the frame is incomplete. A client's frame
// must be masked with zeros.
func unframe(b []byte) (op byte, payload, rest []byte) {
	if len(b) < 2 {
		return 0, nil, b
	}
	head, size := 2, int(b[1]&0x7f)
	if size == 126 && len(b) >= 4 {
		head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	}
	if b[1]&0x80 != 0 {
		head += 4
	}
	if len(b) < head+size {
		return 0, nil, b
	}
	return b[0] & 0x0f, b[head : head+size], b[head+size:]
}
