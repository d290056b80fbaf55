package ws

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"unicode/utf8"

	"github.com/coder/websocket"

	"refresher/internal/panics"
	"refresher/internal/protocol"
)

// errClosing ends the reader of a connection that this side is closing. From then on
// conn.close reads, up to the client's close frame.
var errClosing = errors.New("closing")

// readAll handles messages, one after the other, until there are no more.
func (c *conn) readAll() (err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	data, release, err := c.read()
	if err == nil {
		data, release, err = c.handleFirst(data, release)
	}
	for err == nil {
		c.handle(context.Background(), data, release)
		if err = <-c.handled; err == nil {
			data, release, err = c.read()
		}
	}
	return err
}

// handleFirst has the first message handled, and receives the next one meanwhile, so that a join
// or resume is given up if its client hangs up while the customer's back end is asked. (It is
// not noticed if the client sends another message first.) The next message is checked after
// the first has been answered, so that answers keep their order.
func (c *conn) handleFirst(first []byte, done func()) (data []byte, release func(), err error) {
	ctx, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	c.handle(ctx, first, done)
	m, broken := c.tryReceive()
	if broken != nil {
		c.lost(broken)
		hangUp()
	}
	switch err := <-c.handled; {
	case broken != nil:
		return nil, nil, broken
	case err != nil:
		buffers.Put(m.buffer)
		return nil, nil, err
	}
	return c.check(m)
}

// tryReceive is receive, but a panic in it is an error: its caller has to wait for a worker.
func (c *conn) tryReceive() (m message, err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	return c.receive()
}

// handle has a message handled by a worker, which sends the result to c.handled. ctx is done
// if the client hangs up.
func (c *conn) handle(ctx context.Context, data []byte, release func()) {
	c.deadline.Store(math.MaxInt64) // until it is handled
	c.hub.workers.start(task{ctx, c, data, release})
}

// buffers holds buffers for the longest message, and one byte more, which shows that a
// message is too long.
var buffers = sync.Pool{New: func() any { return new([protocol.MaxMessage + 1]byte) }}

// message is a client's message before it is checked.
type message struct {
	kind   websocket.MessageType
	buffer *[protocol.MaxMessage + 1]byte
	length int
}

// read waits for the next message. The caller gives data back by release.
func (c *conn) read() (data []byte, release func(), err error) {
	m, err := c.receive()
	if err != nil {
		return nil, nil, err
	}
	return c.check(m)
}

// receive waits for the next message. The caller gives its buffer back.
func (c *conn) receive() (message, error) {
	// A context would cost a goroutine and a lock for each message. Closing the
	// connection ends a read.
	kind, r, err := c.socket.Reader(context.Background())
	if err != nil {
		return message{}, err
	}
	buffer := buffers.Get().(*[protocol.MaxMessage + 1]byte)
	n, err := io.ReadFull(r, buffer[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // wrapped, they say that it broke off
		buffers.Put(buffer)
		return message{}, err
	}
	return message{kind, buffer, n}, nil
}

// check closes the connection if the message cannot be one of the protocol.
func (c *conn) check(m message) (data []byte, release func(), err error) {
	data = m.buffer[:m.length]
	release = func() { buffers.Put(m.buffer) }
	switch {
	case c.closing.Load() != 0:
		err = errClosing
	case len(data) > protocol.MaxMessage:
		err = c.close(protocol.CloseTooLarge, "too large", protocol.FromError(errTooLarge))
	case m.kind != websocket.MessageText:
		err = c.close(protocol.CloseMalformed, "binary", protocol.FromError(errBinary))
	case !utf8.Valid(data):
		err = c.close(protocol.CloseNotUTF8, "not UTF-8", protocol.FromError(errNotUTF8))
	default:
		c.net.unpaid.Store(0)
		return data, release, nil
	}
	release()
	return nil, nil, err
}
