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

// socket is the network connection under the WebSocket library. It waits for input with a small
// stack, writes whole frames, each with a deadline, and counts the bytes read. One goroutine at
// a time may read; any goroutine may write.
type socket struct {
	net.Conn
	writeTimeout time.Duration
	conn         *conn         // the connection it belongs to; set before the first read
	reader       *bufio.Reader // the library's; it reads from this socket
	raw          *raw          // nil if the connection has a layer, such as TLS
	uncounted    int           // bytes read that do not count for the message rate yet

	writing lock        // held during a write, for writeTimeout at most
	ended   error       // guarded by writing; set once a close frame, or only part of a frame, was written
	stuck   atomic.Bool // a write has missed its deadline
}

// lock is a mutex made of a channel: testing/synctest counts a goroutine that waits for it as
// durably blocked, but not one that waits for a sync.Mutex.
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

// freeBytes is how many bytes of a message count as one message for the message rate; each
// further freeBytes count as another. This way empty fragments, which the library skips, count too.
const freeBytes = 1 << 10

// await blocks until there is input to read.
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

// peek returns the input that the library has not read yet, between two messages. It returns nil
// if only the library can read the next message.
func (s *socket) peek() []byte {
	if s.raw == nil || s.reader.Buffered() > 0 {
		return nil
	}
	return s.raw.unread
}

// Read implements net.Conn, for the library.
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

// Write implements net.Conn, for the library. p is one whole control frame, since the library's
// write buffer has room for the longest.
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
		err = nil // the library answers the client's close frame, but ours was sent before
	}
	return len(p), err
}

// send writes frames with the deadline by. Any goroutine may call it. It returns errClosing after
// a close frame.
func (s *socket) send(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(frames, by)
}

// sendLast sends frames that end with a close frame; later writes fail.
func (s *socket) sendLast(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write(frames, by)
	if err == nil {
		s.ended = errClosing
	}
	return err
}

// write writes p with the deadline by. The caller holds s.writing.
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

// wait writes p and blocks until the kernel has accepted it. The caller holds s.writing.
func (s *socket) wait(p []byte, by time.Time) error {
	if err := s.SetWriteDeadline(by); err != nil {
		return err
	}
	_, err := s.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.stuck.Store(true)
	}
	_ = s.SetWriteDeadline(time.Time{}) // with a past deadline raw.write would fail
	return err
}

// notUTF8 is a close frame with code 1007.
var notUTF8 = appendClose(nil, protocol.CloseNotUTF8, "")

// isCloseNotUTF8 reports whether p is a close frame whose text is not UTF-8. The library echoes
// a client's close frame, but RFC 6455 requires code 1007 for such a text.
func isCloseNotUTF8(p []byte) bool {
	return len(p) > 4 && p[0] == closeFrame && int(p[1]) == len(p)-2 && !utf8.Valid(p[4:])
}

// Close closes the connection. If a write has missed its deadline, it discards the unsent data:
// otherwise TLS would wait 5 s to send its close_notify, and the kernel would keep the data for
// minutes.
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
