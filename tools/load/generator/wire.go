package generator

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"

	"refresher/internal/protocol"
)

// Sizes in bytes. A pong with its header has 37 bytes, a push for two services about 600, and a message `joined` about
// 900.
const (
	idleSize   = 64       // size of a connection's buffer while the connection waits for a message
	bufferSize = 2 << 10  // size of the buffer while a message arrives
	maxFrame   = 64 << 10 // size of the largest frame that is read
)

// Opcodes of frames, RFC 6455.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// The key and its answer are the sample in RFC 6455, section 1.3. A random key would only prove that the peer is not a
// cache.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

var (
	errFrame  = errors.New("not a frame that the service sends")
	errNoPage = errors.New("the handshake was not accepted")
)

// wire is one WebSocket. One goroutine reads and writes; others may call only SetReadDeadline and Close of the
// connection `net`.
type wire struct {
	net      net.Conn
	buffer   []byte // input that was read, in the array `idle` or in a larger one
	idle     [idleSize]byte
	from     int // index of the first byte that was not used
	stats    *stats
	closedBy protocol.CloseCode
}

func handshake(conn net.Conn, target *url.URL, timeout time.Duration, counted *stats) (*wire, error) {
	w := &wire{net: conn, stats: counted, buffer: make([]byte, 0, bufferSize)}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: %s\r\nSec-WebSocket-Key: %s\r\n\r\n", target.RequestURI(), target.Host, protocol.Subprotocol, handshakeKey)
	if err := w.write(request, timeout); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	for {
		if head, _, whole := bytes.Cut(w.buffer, []byte("\r\n\r\n")); whole {
			w.from = len(head) + 4
			return w, accepted(head)
		}
		if err := w.more(); err != nil {
			return nil, err
		}
	}
}

// accepted checks the header of the response. The buffers of http.ReadResponse would be half of a connection's
// allocations, so that function is not used.
func accepted(head []byte) error {
	status, fields, _ := strings.Cut(string(head), "\r\n")
	version, code, _ := strings.Cut(status, " ")
	if code, _, _ = strings.Cut(code, " "); !strings.HasPrefix(version, "HTTP/") || code == "" {
		return errNoPage
	}
	if code != "101" {
		return &refusedError{"http_" + code}
	}
	for field := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(field, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == handshakeAccept {
			return nil
		}
	}
	return errNoPage
}

// refusedError means that the service refused a handshake. The report counts it under its name.
type refusedError struct{ name string }

func (e *refusedError) Error() string { return "refused: " + e.name }

// more reads more input into the buffer, and makes room for it first. If nothing arrives before the deadline, and no
// input waits, the buffer shrinks to its smallest size: 2 KiB for each of 100,000 calls would be 200 MB, or twice that
// with garbage.
func (w *wire) more() error {
	switch unused := w.buffer[w.from:]; {
	case len(unused) >= maxFrame:
		return errFrame
	case len(unused) == cap(w.buffer):
		w.buffer = append(make([]byte, 0, max(bufferSize, 2*len(unused))), unused...)
	default:
		w.buffer = w.buffer[:copy(w.buffer, unused)]
	}
	w.from = 0
	n, err := w.net.Read(w.buffer[len(w.buffer):cap(w.buffer)])
	w.buffer = w.buffer[:len(w.buffer)+n]
	w.stats.in.Add(uint64(n))
	if n > 0 {
		return nil
	}
	if len(w.buffer) == 0 {
		w.buffer = w.idle[:0]
	}
	return err
}

// next waits for a text message, and answers pings. The message is valid until the next call. After a deadline has
// passed, next can be called again, and no input is lost.
func (w *wire) next() ([]byte, error) {
	for {
		op, payload, ok, err := w.frame()
		if err != nil {
			return nil, err
		}
		switch {
		case !ok:
			if err := w.more(); err != nil {
				return nil, err
			}
		case op == opText:
			return payload, nil
		case op == opPing:
			if err := w.send(opPong, payload); err != nil {
				return nil, err
			}
		case op == opClose:
			w.closedBy = protocol.CloseAbnormal
			if len(payload) >= 2 {
				w.closedBy = protocol.CloseCode(binary.BigEndian.Uint16(payload))
			}
			_ = w.send(opClose, payload) // the error is ignored: the connection may be closed already
			return nil, net.ErrClosed
		}
	}
}

// frame returns the next frame, if it has arrived completely. Each message of the service is one frame without a mask.
func (w *wire) frame() (op byte, payload []byte, ok bool, err error) {
	b := w.buffer[w.from:]
	if len(b) < 2 {
		return 0, nil, false, nil
	}
	const finished, masked = 0x80, 0x80
	if b[0]&finished == 0 || b[0]&0x70 != 0 || b[1]&masked != 0 {
		return 0, nil, false, errFrame
	}
	head, size := 2, int(b[1])
	switch size {
	case 126:
		head = 4
		if len(b) < head {
			return 0, nil, false, nil
		}
		size = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 0, nil, false, errFrame // no message of the service is so long
	}
	if head+size > maxFrame {
		return 0, nil, false, errFrame
	}
	if len(b) < head+size {
		return 0, nil, false, nil
	}
	w.from += head + size
	return b[0] & 0x0f, b[head : head+size], true, nil
}

// sendTimeout is how long a write may take.
const sendTimeout = 10 * time.Second

// send writes one frame, with a mask, as clients must.
func (w *wire) send(op byte, payload []byte) error {
	b := make([]byte, 0, 8+len(payload))
	b = append(b, 0x80|op)
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	mask := rand.Uint32() //nolint:gosec // against caches, not against readers
	b = binary.LittleEndian.AppendUint32(b, mask)
	for i, c := range payload {
		b = append(b, c^byte(mask>>(8*(i&3))))
	}
	return w.write(b, sendTimeout)
}

func (w *wire) write(b []byte, timeout time.Duration) error {
	if err := w.net.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	n, err := w.net.Write(b)
	w.stats.out.Add(uint64(n))
	return err
}
