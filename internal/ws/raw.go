package ws

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// raw reads and writes a socket by system calls of its own. Waiting for input it keeps a stack
// of 2 KiB; a Read of net.Conn under the library keeps 4 KiB, and the library waits nearly
// always. What it writes needs no deadline, thus no timer, unless the kernel's buffer is full.
//
// It is for sockets without a layer: TLS and the reader of a PROXY header may hold data that
// the socket does not have any more.
type raw struct {
	socket syscall.RawConn

	// For the connection's goroutine.
	tryRead func(fd uintptr) bool // raw.readOnce, made once
	buffer  *input                // nil: nothing was read that is not taken yet
	unread  []byte                // the rest of buffer
	readErr error

	// For the holder of socket.writing.
	tryWrite func(fd uintptr) bool // raw.writeOnce, made once
	unsent   []byte
	writeErr error
}

// input is a buffer for what a client sends at once.
type input [1 << 10]byte

// inputs has the buffers. A connection holds one only while there is something in it.
var inputs = sync.Pool{New: func() any { return new(input) }}

// newRaw returns nil if c is not a bare socket.
func newRaw(c net.Conn) *raw {
	var socket syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		socket, err = c.SyscallConn()
	case *net.UnixConn:
		socket, err = c.SyscallConn()
	default:
		return nil
	}
	if err != nil || !haveDescriptors {
		return nil
	}
	r := &raw{socket: socket}
	r.tryRead, r.tryWrite = r.readOnce, r.writeOnce
	return r
}

// await waits until something was read. The error may be io.EOF.
func (r *raw) await() error {
	if err := r.socket.Read(r.tryRead); err != nil {
		return err
	}
	return r.readErr
}

// readOnce reads what there is. It returns false if that is nothing.
func (r *raw) readOnce(fd uintptr) bool {
	b := inputs.Get().(*input)
	n, err := readFD(fd, b[:])
	if n > 0 {
		r.buffer, r.unread = b, b[:n]
		return true
	}
	inputs.Put(b)
	if errors.Is(err, syscall.EAGAIN) {
		return false
	}
	if r.readErr = err; err == nil {
		r.readErr = io.EOF
	}
	return true
}

// take moves what was read to p.
func (r *raw) take(p []byte) int {
	n := copy(p, r.unread)
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.drop()
	}
	return n
}

// drop forgets what was read.
func (r *raw) drop() {
	inputs.Put(r.buffer)
	r.buffer, r.unread = nil, nil
}

// write writes what the kernel takes at once, and returns the rest.
func (r *raw) write(p []byte) (rest []byte, err error) {
	r.unsent, r.writeErr = p, nil
	if err = r.socket.Write(r.tryWrite); err == nil {
		err = r.writeErr
	}
	rest, r.unsent = r.unsent, nil
	return rest, err
}

func (r *raw) writeOnce(fd uintptr) bool {
	n, err := writeFD(fd, r.unsent)
	switch {
	case err == nil:
		r.unsent = r.unsent[n:]
	case !errors.Is(err, syscall.EAGAIN):
		r.writeErr = err
	}
	return true
}
