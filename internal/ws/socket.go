package ws

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"refresher/internal/protocol"
)

// socket is the network connection under the WebSocket library. It waits for input without
// a deep stack, sends a message and what follows it in one write with one deadline, and counts
// the bytes read. Reading is for one goroutine, writing for any.
type socket struct {
	net.Conn
	writeTimeout time.Duration
	conn         *conn         // what it is part of; set before anything is read
	reader       *bufio.Reader // the library's, which reads from here
	raw          *raw          // nil: the connection has a layer, such as TLS
	unpaid       int           // bytes read since the last message

	mu      sync.Mutex // guards the fields below; a leaf
	message *[]byte    // gathers what is written; nil: nothing is gathered
	closed  bool       // a close frame was sent: nothing may follow it

	sending sync.Mutex  // held while the connection is written to
	stuck   atomic.Bool // a write has missed its deadline
}

// freeBytes is how many bytes of a message count as one message for the client's rate; each
// freeBytes more count as another. So empty fragments, which the library skips, count too.
const freeBytes = 1 << 10

// await waits until there is something to read.
func (s *socket) await() error {
	if s.reader.Buffered() > 0 {
		return nil
	}
	if s.raw != nil {
		return s.raw.await()
	}
	_, err := s.reader.Peek(1)
	return err
}

// Read implements net.Conn, for the library.
func (s *socket) Read(p []byte) (n int, err error) {
	if s.raw != nil && s.raw.buffer != nil {
		n = s.raw.take(p)
	} else {
		n, err = s.Conn.Read(p)
	}
	for s.unpaid += n; s.unpaid > freeBytes; s.unpaid -= freeBytes {
		s.conn.charge()
	}
	return n, err
}

// gathered holds buffers for messages to clients. The longest usual one, a push for three
// services, has about 1,400 bytes.
var gathered = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxGathered is the size from which a buffer is not kept.
const maxGathered = 16 << 10

// begin has writes gathered until flush, for one message at a time.
func (s *socket) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.message = gathered.Get().(*[]byte)
}

// end gathers a close frame. What is written after it is dropped.
func (s *socket) end(code protocol.CloseCode, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frame := append(*s.message, closeFrame, byte(2+len(text)), byte(code>>8), byte(code))
	*s.message = append(frame, text...)
	s.closed = true
}

// isClosed reports whether a close frame was sent.
func (s *socket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// flush writes what was gathered, in one system call, until a time.
func (s *socket) flush(by time.Time) error {
	s.mu.Lock()
	message := s.message
	s.message = nil
	s.mu.Unlock()
	defer func() {
		if cap(*message) <= maxGathered {
			*message = (*message)[:0]
			gathered.Put(message)
		}
	}()
	if len(*message) == 0 {
		return nil
	}
	return s.send(*message, by)
}

// Write implements net.Conn, for the library. What the library writes by itself, pongs and
// close frames, has a deadline of its own.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return len(p), nil
	case s.message != nil:
		*s.message = append(*s.message, p...)
		s.mu.Unlock()
		return len(p), nil
	}
	s.mu.Unlock()
	if echoesGarbage(p) {
		return len(p), s.send(notUTF8, time.Now().Add(s.writeTimeout))
	}
	return len(p), s.send(p, time.Now().Add(s.writeTimeout))
}

// send writes p until a time.
func (s *socket) send(p []byte, by time.Time) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.raw != nil {
		var err error
		if p, err = s.raw.write(p); err != nil || len(p) == 0 {
			return err
		}
	}
	return s.wait(p, by)
}

// wait writes p, and waits for the client to read. s.sending is held.
func (s *socket) wait(p []byte, by time.Time) error {
	if err := s.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := s.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.stuck.Store(true)
	}
	_ = s.SetWriteDeadline(time.Time{}) // raw.write would fail after it
	return err
}

// notUTF8 is a close frame with the code 1007.
var notUTF8 = []byte{closeFrame, 2, byte(protocol.CloseNotUTF8 >> 8), byte(protocol.CloseNotUTF8 & 0xff)}

const closeFrame = 0x88

// echoesGarbage reports whether p is a close frame whose text is not UTF-8. The library
// echoes a client's close frame; RFC 6455 wants 1007 for such a text.
func echoesGarbage(p []byte) bool {
	return len(p) > 4 && p[0] == closeFrame && int(p[1]) == len(p)-2 && !utf8.Valid(p[4:])
}

// Close closes the connection. If a write missed its deadline, it drops unsent data: TLS
// would wait 5 s to send its close_notify, and the kernel would keep the data for minutes.
func (s *socket) Close() error {
	if !s.stuck.Load() {
		return s.Conn.Close()
	}
	b := bottom(s.Conn)
	if tcp, ok := b.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails when the connection is closed
	}
	return b.Close()
}
