package ws

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// waiter waits until a socket is readable, and reads, in a stack of 2 KiB. A read of net.Conn
// under the library takes 4 KiB and more, for as long as it waits, which is nearly always.
// It is for sockets without a layer: TLS and the reader of a PROXY header may hold data that
// the socket does not have any more.
type waiter struct {
	raw    syscall.RawConn
	read   func(fd uintptr) bool // is w.tryRead, made once
	buffer *input                // nil: nothing was read that is not taken yet
	from   int                   // start of the rest in buffer
	upTo   int
	err    error
}

// input is a buffer for what a client sends at once.
type input [1 << 10]byte

// inputs has the buffers. One is held only while there is something in it.
var inputs = sync.Pool{New: func() any { return new(input) }}

// newWaiter returns nil if it has no way to wait on c.
func newWaiter(c net.Conn) *waiter {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	default:
		return nil
	}
	if err != nil || !canRead {
		return nil
	}
	w := &waiter{raw: raw}
	w.read = w.tryRead
	return w
}

// await waits until something was read. The error may be io.EOF.
func (w *waiter) await() error {
	if err := w.raw.Read(w.read); err != nil {
		return err
	}
	return w.err
}

// tryRead reads what there is. It returns false if that is nothing.
func (w *waiter) tryRead(fd uintptr) bool {
	b := inputs.Get().(*input)
	n, err := readFD(fd, b[:])
	if n > 0 {
		w.buffer, w.from, w.upTo = b, 0, n
		return true
	}
	inputs.Put(b)
	if errors.Is(err, syscall.EAGAIN) {
		return false
	}
	if w.err = err; err == nil {
		w.err = io.EOF
	}
	return true
}

// has reports whether something was read that is not taken yet.
func (w *waiter) has() bool { return w.buffer != nil }

// take moves what was read to p.
func (w *waiter) take(p []byte) int {
	n := copy(p, w.buffer[w.from:w.upTo])
	if w.from += n; w.from == w.upTo {
		inputs.Put(w.buffer)
		w.buffer = nil
	}
	return n
}
