package ws

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"refresher/internal/protocol"
)

// socket is the network connection below the WebSocket library. It waits for input with a small stack, writes
// whole frames with a deadline, and counts the bytes read. Only one goroutine may read at a time; any
// goroutine may write.
type socket struct {
	net.Conn
	writeTimeout time.Duration
	conn         *conn         // the client's connection; set before the first read
	reader       *bufio.Reader // the WebSocket library's reader, which reads from this socket
	raw          *raw          // nil if a layer such as TLS lies over the network connection
	uncounted    int           // bytes read that are not yet counted for the message rate

	writing lock        // held during each write, for writeTimeout at most
	ended   error       // guarded by the lock `writing`; after a close frame, or a part of a frame, was written, all writes return this error
	stuck   atomic.Bool // set when a write has missed its deadline
}

// lock is a mutex made from a channel. Unlike sync.Mutex, testing/synctest counts a goroutine that waits for
// a lock as durably blocked, so simulated time can advance.
type lock chan struct{}

func newLock() lock    { return make(lock, 1) }
func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }
func (l lock) TryLock() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

// freeBytes is the size of a message, in bytes, up to which it counts as one message for the message rate. Each further
// freeBytes count as one more message. In this way the bytes of empty fragments count, too, though the WebSocket
// library skips these fragments.
const freeBytes = 1 << 10

// await blocks until input can be read.
func (s *socket) await() error {
	if s.reader.Buffered() > 0 || s.raw != nil && s.raw.buffer != nil {
		return nil
	}
	if s.raw != nil {
		return s.raw.await()
	}
	_, err := s.reader.Peek(1)
	return err
}

// peek returns the input that the WebSocket library has not read yet. It may be called only between two messages. It
// returns nil if only the library can read the next message.
func (s *socket) peek() []byte {
	if s.raw == nil || s.reader.Buffered() > 0 {
		return nil
	}
	return s.raw.unread
}

// Read implements net.Conn, for the WebSocket library.
func (s *socket) Read(p []byte) (n int, err error) {
	if s.raw != nil && s.raw.buffer != nil {
		n = s.raw.take(p)
	} else {
		n, err = s.Conn.Read(p)
	}
	for s.uncounted += n; s.uncounted > freeBytes; s.uncounted -= freeBytes {
		s.conn.charge()
	}
	return n, err
}

// errClosing is the error of a write after a close frame.
var errClosing = errors.New("closing")

// Write implements net.Conn, for the WebSocket library. p is always one whole control frame, since the library writes
// only control frames, and its write buffer has room for the longest one.
func (s *socket) Write(p []byte) (int, error) {
	by := time.Now().Add(s.writeTimeout)
	var err error
	switch {
	case isCloseNotUTF8(p):
		err = s.sendLast(notUTF8, by)
	case p[0] == closeFrame:
		err = s.sendLast(p, by)
	default:
		err = s.send(p, by)
	}
	if errors.Is(err, errClosing) {
		err = nil // the WebSocket library wanted to answer the client's close frame, but this node has already sent a close frame, which is enough
	}
	return len(p), err
}

// send writes frames until the time `by` at the latest; otherwise it fails. Any goroutine may call it. After a close
// frame it returns errClosing.
func (s *socket) send(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(frames, by)
}

// sendLast sends frames, the last of which is a close frame. Later writes fail.
func (s *socket) sendLast(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write(frames, by)
	if err == nil {
		s.ended = errClosing
	}
	return err
}

// write writes p until the time `by` at the latest; otherwise it fails. The caller holds s.writing.
func (s *socket) write(p []byte, by time.Time) error {
	if s.ended != nil {
		return s.ended
	}
	if s.raw != nil {
		p, s.ended = s.raw.write(p)
	}
	if s.ended == nil && len(p) > 0 {
		s.ended = s.wait(p, by)
	}
	return s.ended
}

// wait writes p and blocks until the kernel has taken all of it. The caller holds s.writing.
func (s *socket) wait(p []byte, by time.Time) error {
	if err := s.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := s.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.stuck.Store(true)
	}
	_ = s.SetWriteDeadline(time.Time{}) // resets the deadline, since raw.write would fail after the deadline has passed
	return err
}

// notUTF8 is a close frame with code 1007.
var notUTF8 = appendClose(nil, protocol.CloseNotUTF8, "")

// isCloseNotUTF8 reports whether p is a close frame whose text is not UTF-8. The WebSocket library answers such a frame
// of a client with the same frame, but by RFC 6455 the answer must have code 1007.
func isCloseNotUTF8(p []byte) bool {
	return len(p) > 4 && p[0] == closeFrame && int(p[1]) == len(p)-2 && !utf8.Valid(p[4:])
}

// Close closes the connection. If a write has missed its deadline, Close discards the unsent data: otherwise
// TLS would wait 5 s to send its close_notify, and the kernel would keep the data for minutes.
func (s *socket) Close() error {
	if !s.stuck.Load() {
		return s.Conn.Close()
	}
	b := bottom(s.Conn)
	if tcp, ok := b.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if the connection is already closed
	}
	return b.Close()
}
