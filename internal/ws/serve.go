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

// serve is the connection's goroutine. It waits for input, handles one message, and then starts a new
// goroutine for the connection and ends: the handling grows the stack, a goroutine keeps a grown stack, and the new
// goroutine waits with a stack of 2 KiB. At any time one goroutine has the role of the connection's goroutine and
// may use the fields that belong to it. The argument `before` is the connection's first message while that
// message is still being handled, else nil.
func (c *conn) serve(before *greeting) {
	err := c.socket.await()
	for err == nil && before == nil && c.answerHeartbeat() {
		err = c.socket.await()
	}
	c.proceed(before, err)
}

// proceed handles the input that serve has waited for, or the error of waiting.
func (c *conn) proceed(before *greeting, err error) {
	growStack()
	var m message
	if before != nil {
		m, err = before.wait(c, err)
	}
	var first *greeting
	if err == nil {
		first, err = c.handleNext(m)
	}
	switch {
	case first != nil && err != nil:
		c.cut(protocol.CloseAbnormal) // makes the read of the new goroutine fail, and then that goroutine calls finish
	case first != nil:
	case err != nil:
		c.finish(err)
	default:
		go c.serve(nil) // Hub.add has counted this goroutine in hub.running
	}
}

// handleNext handles the message m, or if m is empty, reads a message and handles it. If this is the connection's
// first message, handleNext starts the next goroutine of the connection before the handling, and returns the message as
// the result `first`. Otherwise the caller must start the next goroutine. An error ends the connection.
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

// handleShort handles the input without the WebSocket library if the input is exactly one frequent message or one pong.
// Otherwise it returns false. For a message the library would take 2 µs longer. After a pong the library would wait for
// the next message with a large stack.
func (c *conn) handleShort() bool {
	if c.attachment == nil || c.closing.Load() != 0 {
		return false
	}
	var room short
	if _, ok := room.readShort(pongFrame, c.socket.peek()); ok {
		c.socket.raw.drop()
		if c.charge() {
			c.ponged()
		}
		return true
	}
	text, ok := room.readShort(textFrame, c.socket.peek())
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

// greeting is a connection's first message, a join or a resume, while it is handled.
type greeting struct {
	ctx    context.Context
	hangUp context.CancelFunc // cancels ctx
	done   chan struct{}      // closed after the message was handled
}

// wait blocks until the first message is handled, and returns the next message if the client has sent one meanwhile.
// The argument `broken` is the error of the wait for input. If the client has hung up, wait cancels the handling of the
// first message, which may be waiting for the back end. If the client has sent another message and then hung up, wait
// does not notice that, since it reads at most one message.
func (g *greeting) wait(c *conn, broken error) (next message, err error) {
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

// tryReceive does the same as receive, but returns a panic as an error, since its caller must still wait until the first
// message is handled.
func (c *conn) tryReceive() (m message, err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	return c.receive()
}

// message is a client's message that the method `check` has not checked yet.
type message struct {
	kind   websocket.MessageType
	buffer *[protocol.MaxMessage + 1]byte // from buffers
	length int
	rest   io.Reader // yields the bytes that did not fit into buffer
}

func (m *message) data() []byte { return m.buffer[:m.length] }

// buffers is a pool of buffers, each for one message. A buffer is one byte longer than the longest message, so that a
// message that fills the buffer is too long.
var buffers = sync.Pool{New: func() any { return new([protocol.MaxMessage + 1]byte) }}

// receive waits for the next message. The caller must return its buffer to buffers.
func (c *conn) receive() (message, error) {
	// The context cannot be cancelled, since that would cost a goroutine and a lock for each message. The read ends
	// when the connection is closed.
	kind, r, err := c.library.Reader(context.Background())
	if err != nil {
		return message{}, err
	}
	buffer := buffers.Get().(*[protocol.MaxMessage + 1]byte)
	n, err := io.ReadFull(r, buffer[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // the library wraps them if the connection broke inside a message
		buffers.Put(buffer)
		return message{}, err
	}
	return message{kind, buffer, n, r}, nil
}

// check reports whether a message should be handled. It closes the connection if the message is too long, not
// UTF-8 text, or above the message rate. If the node has already begun to close the connection, check returns false. An
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
		c.socket.uncounted = 0
		return true, nil
	}
	return false, nil
}

// finish ends the connection after a read from it failed with err.
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

// lost records the close code of a connection that the client has closed or that is broken, unless the node has closed
// the connection first. It frees the WebSocket library's resources.
func (c *conn) lost(err error) {
	closed, ok := errors.AsType[websocket.CloseError](err)
	code := protocol.CloseCode(closed.Code)
	switch {
	case !ok:
		code = protocol.CloseAbnormal
	case !utf8.ValidString(closed.Reason):
		code = protocol.CloseNotUTF8 // the code with which socket.Write has answered the client's close frame
	}
	if !c.closing.CompareAndSwap(0, int32(code)) && ok {
		// If a write failed because the client had closed the connection, the client's code replaces the code of
		// that write.
		c.closing.CompareAndSwap(int32(protocol.CloseAbnormal), int32(code))
	}
	_ = c.library.CloseNow() // fails only if the connection is already closed
}

// handle handles one message. It recovers a panic and closes the connection with CodeInternal.
func (c *conn) handle(ctx context.Context, data []byte) {
	var failed error
	defer func() {
		if failed != nil {
			c.refuse(failed)
		}
		c.awaitMessage()
	}()
	defer c.hub.config.Panics.Recover(panics.Connection, &failed)
	c.place.deadline.Store(math.MaxInt64) // suspends the deadline while the message is handled
	c.dispatch(ctx, data)
}
