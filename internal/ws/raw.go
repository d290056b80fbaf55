package ws

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// raw reads and writes a socket by direct system calls, to save memory and time. Nearly all goroutines wait for input.
// In a method of raw, a waiting goroutine needs a stack of 2 KiB; in the WebSocket library and net.Conn.Read, it would
// need 4 KiB. A write by raw needs no deadline, and so no timer, unless the kernel's buffer is full.
//
// raw works only for plain sockets. A layer above the socket, such as TLS or the reader of a PROXY header, may hold
// data that it has already read from the socket, and raw would miss that data.
type raw struct {
	socket syscall.RawConn

	// The fields below belong to the connection's goroutine.
	tryRead func(fd uintptr) bool // the method value r.readOnce, stored so that it is allocated only once
	buffer  *input                // nil if all input was read
	unread  []byte                // the unread part of buffer
	readErr error

	// The fields below belong to the holder of socket.writing.
	tryWrite func(fd uintptr) bool // the method value r.writeOnce, stored so that it is allocated only once
	unsent   []byte
	writeErr error
}

// input is a buffer for the bytes of one read.
type input [1 << 10]byte

// inputs is a pool of read buffers. A connection has a buffer only while it has unread input.
var inputs = sync.Pool{New: func() any { return new(input) }}

// newRaw returns a raw for c, or nil if c is not a plain socket.
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

// await blocks until buffer contains input. The error is io.EOF if the client has closed its side.
func (r *raw) await() error {
	if err := r.socket.Read(r.tryRead); err != nil {
		return err
	}
	return r.readErr
}

// readOnce reads the input that is available. It returns false if there is none; the runtime then waits for
// input and calls readOnce again.
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

// take moves unread input to p and returns the number of bytes.
func (r *raw) take(p []byte) int {
	n := copy(p, r.unread)
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.drop()
	}
	return n
}

// drop discards the unread input.
func (r *raw) drop() {
	inputs.Put(r.buffer)
	r.buffer, r.unread = nil, nil
}

// write writes as many bytes of p as the kernel accepts without blocking, and returns the rest.
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
