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

// socket is the network connection under the WebSocket library. It waits for input without
// a deep stack, sends whole frames, each with a deadline, and counts the bytes read. One
// goroutine at a time reads, any may write.
type socket struct {
	net.Conn
	writeTimeout time.Duration
	conn         *conn         // what it is part of; set before anything is read
	reader       *bufio.Reader // the library's, which reads from here
	raw          *raw          // nil: the connection has a layer, such as TLS
	unpaid       int           // bytes read since the last message

	writing lock        // held while the connection is written to, for writeTimeout at most
	ended   error       // why nothing more is written: a close frame, or half a frame, was sent; guarded by writing
	stuck   atomic.Bool // a write has missed its deadline
}

// lock is a mutex whose waiters count as blocked in a test's bubble, while a holder waits for a
// client that does not read.
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

// freeBytes is how many bytes of a message count as one message for the client's rate; each
// freeBytes more count as another. So empty fragments, which the library skips, count too.
const freeBytes = 1 << 10

// await waits until there is something to read.
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

// ahead returns what was read and the library has not seen, between two messages; nil if the
// library has to read what comes.
func (s *socket) ahead() []byte {
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
	for s.unpaid += n; s.unpaid > freeBytes; s.unpaid -= freeBytes {
		s.conn.charge()
	}
	return n, err
}

// errClosing is the error of a write after the close frame.
var errClosing = errors.New("closing")

// Write implements net.Conn, for the library. p is a whole control frame, since the library's
// buffer holds the longest.
func (s *socket) Write(p []byte) (int, error) {
	by := time.Now().Add(s.writeTimeout)
	var err error
	switch {
	case echoesGarbage(p):
		err = s.sendLast(notUTF8, by)
	case p[0] == closeFrame:
		err = s.sendLast(p, by)
	default:
		err = s.send(p, by)
	}
	if errors.Is(err, errClosing) {
		err = nil // the library answers the client's close frame, which answers ours
	}
	return len(p), err
}

// send writes frames until a time. It may be called by any goroutine. The error is errClosing
// after a close frame.
func (s *socket) send(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(frames, by)
}

// sendLast is send for frames that end with a close frame.
func (s *socket) sendLast(frames []byte, by time.Time) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.write(frames, by)
	if err == nil {
		s.ended = errClosing
	}
	return err
}

// write is send for the holder of s.writing.
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

// wait writes p, and waits for the client to read. s.writing is held.
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
var notUTF8 = appendClose(nil, protocol.CloseNotUTF8, "")

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
