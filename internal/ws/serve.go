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

// serve is the connection's goroutine. It waits for something to read, handles it, and gives
// its place to a new goroutine: handling a message takes 8 KiB of stack, which a goroutine
// would keep, while a new one waits in 2 KiB. So one goroutine at a time has what belongs to
// the connection's goroutine. While a first message is handled, the new one waits already.
func (c *conn) serve(before *greeting) {
	err := c.socket.await()
	for err == nil && before == nil && c.answerHeartbeat() {
		err = c.socket.await()
	}
	c.proceed(before, err)
}

// proceed handles what serve has waited for.
func (c *conn) proceed(before *greeting, err error) {
	growStack()
	var m message
	if before != nil {
		m, err = before.over(c, err)
	}
	var first *greeting
	if err == nil {
		first, err = c.handleNext(m)
	}
	switch {
	case first != nil && err != nil:
		c.cut(protocol.CloseAbnormal) // its new goroutine notices
	case first != nil:
	case err != nil:
		c.finish(err)
	default:
		go c.serve(nil) // counted by Hub.add
	}
}

// handleNext handles m, or the message that it reads if m is empty. If it was the first message
// of the connection, handleNext returns it, and has started the new goroutine. An error ends the
// connection.
func (c *conn) handleNext(m message) (first *greeting, err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	if m.buffer == nil {
		if c.handleShort() {
			return nil, nil
		}
		if m, err = c.receive(); err != nil {
			return nil, err
		}
	}
	defer buffers.Put(m.buffer)
	switch ok, err := c.check(m); {
	case err != nil || !ok:
		return nil, err
	case c.greeted:
		c.handle(context.Background(), m.data())
		return nil, nil
	}
	c.greeted = true
	first = &greeting{done: make(chan struct{})}
	first.ctx, first.hangUp = context.WithCancel(context.Background())
	go c.serve(first)
	defer close(first.done)
	c.handle(first.ctx, m.data())
	return first, nil
}

// handleShort handles what was read, if that is a frequent message, or a pong, and nothing else.
// The library takes 2 µs more to read a message; after a pong it would wait for the next message
// in a deep stack. It returns false if the library is to read it.
func (c *conn) handleShort() bool {
	if c.attachment == nil || c.closing.Load() != 0 {
		return false
	}
	var room short
	if _, ok := room.readShort(pongFrame, c.socket.ahead()); ok {
		c.socket.raw.drop()
		if c.charge() {
			c.ponged()
		}
		return true
	}
	text, ok := room.readShort(textFrame, c.socket.ahead())
	if ok {
		_, _, ok = protocol.Frequent(text)
	}
	if ok {
		c.socket.raw.drop()
		if c.charge() {
			c.handle(context.Background(), text)
		}
	}
	return ok
}

// greeting is the first message of a connection, a join or a resume, while it is handled.
type greeting struct {
	ctx    context.Context
	hangUp context.CancelFunc // gives it up
	done   chan struct{}      // closed when it was handled
}

// over waits until the first message was handled. It is called when there is something to read
// after it, and receives that meanwhile: if the client has hung up, the first message is given
// up, which may be waiting for the customer's back end. (After one more message over reads no
// further, so that it does not notice a client that hangs up then.) broken is the error of the
// wait for something to read.
func (g *greeting) over(c *conn, broken error) (next message, err error) {
	defer g.hangUp()
	if err = broken; err == nil {
		select {
		case <-g.done:
			return message{}, nil
		default:
			next, err = c.tryReceive()
		}
	}
	if err != nil {
		c.lost(err)
		g.hangUp()
	}
	<-g.done
	return next, err
}

// tryReceive is receive, but a panic in it is an error: its caller has to wait for the first
// message.
func (c *conn) tryReceive() (m message, err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	return c.receive()
}

// message is a client's message before it is checked.
type message struct {
	kind   websocket.MessageType
	buffer *[protocol.MaxMessage + 1]byte // from buffers
	length int
	rest   io.Reader // of a message that is too long
}

func (m *message) data() []byte { return m.buffer[:m.length] }

// buffers holds buffers for the longest message, and one byte more, which shows that a
// message is too long.
var buffers = sync.Pool{New: func() any { return new([protocol.MaxMessage + 1]byte) }}

// receive waits for the next message. The caller gives its buffer back.
func (c *conn) receive() (message, error) {
	// A context would cost a goroutine and a lock for each message. Closing the
	// connection ends a read.
	kind, r, err := c.library.Reader(context.Background())
	if err != nil {
		return message{}, err
	}
	buffer := buffers.Get().(*[protocol.MaxMessage + 1]byte)
	n, err := io.ReadFull(r, buffer[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // wrapped, they say that it broke off
		buffers.Put(buffer)
		return message{}, err
	}
	return message{kind, buffer, n, r}, nil
}

// check reports whether a message is to be handled. If it cannot be one of the protocol, or
// is one too many, check closes the connection; messages that come after that are ignored. An
// error ends the connection.
func (c *conn) check(m message) (bool, error) {
	switch {
	case m.length == len(m.buffer):
		c.close(protocol.CloseTooLarge, "too large", protocol.FromError(errTooLarge))
		_, err := io.Copy(io.Discard, m.rest)
		return false, err
	case c.closing.Load() != 0:
	case m.kind != websocket.MessageText:
		c.close(protocol.CloseMalformed, "binary", protocol.FromError(errBinary))
	case !utf8.Valid(m.data()):
		c.close(protocol.CloseNotUTF8, "not UTF-8", protocol.FromError(errNotUTF8))
	case c.charge():
		c.socket.unpaid = 0
		return true, nil
	}
	return false, nil
}

// finish ends a connection whose reading has ended with err.
func (c *conn) finish(err error) {
	defer c.hub.running.Done()
	defer c.hub.remove(c)
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.lost(err)
	code := protocol.CloseCode(c.closing.Load())
	c.hub.metrics.closed(code)
	c.hub.config.Logger.Debug("connection closed", "code", int(code), "error", err)
}

// lost records that the client closed the connection, or that it broke, unless this side
// has closed it before. It frees what the library holds.
func (c *conn) lost(err error) {
	closed, ok := errors.AsType[websocket.CloseError](err)
	code := protocol.CloseCode(closed.Code)
	switch {
	case !ok:
		code = protocol.CloseAbnormal
	case !utf8.ValidString(closed.Reason):
		code = protocol.CloseNotUTF8 // as it was answered, see socket.Write
	}
	if !c.closing.CompareAndSwap(0, int32(code)) && ok {
		// A write has failed before, because the client had closed the connection.
		c.closing.CompareAndSwap(int32(protocol.CloseAbnormal), int32(code))
	}
	_ = c.library.CloseNow() // it may be closed already
}

// handle handles one message. A panic closes the connection with CodeInternal.
func (c *conn) handle(ctx context.Context, data []byte) {
	var failed error
	defer func() {
		if failed != nil {
			c.refuse(failed)
		}
		c.awaitMessage()
	}()
	defer c.hub.config.Panics.Recover(panics.Connection, &failed)
	c.place.deadline.Store(math.MaxInt64) // until it is handled
	c.dispatch(ctx, data)
}
