package ws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// conn is one client's connection. It implements session.Client.
type conn struct {
	hub     *Hub
	socket  *websocket.Conn
	net     *guardedConn  // what the socket is made of
	address netip.Addr    // the client's
	gone    chan struct{} // closed when the reader has ended
	handled chan error    // what came of a message; holds one, so that a worker does not wait for the reader

	sayBy    atomic.Int64 // by when the client must have said something, on the hub's clock
	heard    atomic.Int64 // when it last did, or what it said had been handled
	probing  atomic.Bool  // it was sent a ping, and has time to answer
	attached atomic.Bool
	closing  atomic.Int32 // the code that this side closed with, 0 = it did not

	writing sync.Mutex // held while a message is written

	attachment session.Attachment // of whoever handles a message, or the reader in between
	messages   *rate.Limiter
}

func newConn(h *Hub, socket *websocket.Conn, n *guardedConn, from netip.Addr) *conn {
	c := &conn{
		hub: h, address: from, socket: socket, net: n, gone: make(chan struct{}), handled: make(chan error, 1),
		messages: rate.NewLimiter(messagesPerSecond, messageBurst),
	}
	n.conn = c
	c.sayBy.Store(int64(h.now() + h.config.JoinTimeout))
	return c
}

// pay takes one from what the client may send, in messages, and refuses it if nothing
// is left. What the client sends meanwhile is read until the connection has closed.
func (c *conn) pay() bool {
	if c.messages.Allow() {
		return true
	}
	_ = c.refuse(errTooMany)
	return false
}

// serve reads until the connection ends. It is the connection's goroutine.
func (c *conn) serve() {
	defer c.hub.running.Done()
	defer close(c.gone)
	defer c.hub.remove(c)
	err := c.readAll()
	if c.attachment != nil {
		c.attachment.Detach()
	}
	c.lost(err)
	code := protocol.CloseCode(c.closing.Load())
	c.hub.metrics.closed(code)
	c.hub.config.Logger.Debug("connection closed", "code", int(code), "error", err)
}

// lost takes note that the client closed the connection, or that it broke, unless this
// side has closed it.
func (c *conn) lost(err error) {
	closed, ok := errors.AsType[websocket.CloseError](err)
	code := protocol.CloseCode(closed.Code)
	switch {
	case !ok:
		code = protocol.CloseAbnormal
	case !utf8.ValidString(closed.Reason):
		code = protocol.CloseNotUTF8 // so it was answered, see guardedConn
	}
	if c.closing.CompareAndSwap(0, int32(code)) {
		_ = c.socket.CloseNow() // frees what the library holds; it may be closed already
	}
}

// errClosing ends a reader whose connection is being closed from this side.
// The closer reads what is left, up to the client's close frame.
var errClosing = errors.New("closing")

// readAll handles messages, one after the other, until there are no more.
func (c *conn) readAll() (err error) {
	defer c.hub.config.Panics.Recover(panics.Connection, &err)
	data, release, err := c.read()
	if err == nil {
		data, release, err = c.greet(data, release)
	}
	for err == nil {
		c.handle(context.Background(), data, release)
		if err = <-c.handled; err == nil {
			data, release, err = c.read()
		}
	}
	return err
}

// greet has the first message handled, and receives the next one meanwhile: a client that
// hangs up while the customer's back end is asked is not waited for. One that has said
// more before is. The next message is looked at when the first has been answered.
func (c *conn) greet(first []byte, done func()) (data []byte, release func(), err error) {
	ctx, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	c.handle(ctx, first, done)
	m, broken := c.receive()
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

// handle has a message handled by a worker, which sends what came of it to c.handled. ctx
// ends when nobody waits for that any more.
func (c *conn) handle(ctx context.Context, data []byte, release func()) {
	c.sayBy.Store(math.MaxInt64) // it is on us to say something
	c.hub.workers.start(task{ctx, c, data, release})
}

// mayBeSilent gives the client time for its next message.
func (c *conn) mayBeSilent() {
	now := c.hub.now()
	c.heard.Store(int64(now))
	c.sayBy.Store(int64(now + silence*c.hub.config.Heartbeat))
}

// How many heartbeats a client may say nothing: without a sign of life, and when it
// answers pings. Browsers answer those for a page whose timers they let run once a
// minute only.
const (
	silence        = 2
	answeredSilent = 4
)

// look closes the connection if the client should have said something by now. One
// that has said nothing for a while is asked first whether it is there.
func (c *conn) look(now time.Duration) {
	heartbeat, by := c.hub.config.Heartbeat, time.Duration(c.sayBy.Load())
	switch {
	case now >= by && c.attached.Load():
		_ = c.close(protocol.CloseLost, "no heartbeat", nil)
	case now >= by:
		_ = c.close(protocol.CloseNoJoin, "no join", protocol.FromError(session.Errorf(session.CodeBadRequest,
			"no join or resume within %s of connecting", c.hub.config.JoinTimeout)))
	case now >= by-heartbeat*3/4 && c.attached.Load() && c.probing.CompareAndSwap(false, true):
		c.aside(func() { c.probe(by - now) })
	}
}

// probe pings the client and waits for the answer for so long. That keeps the
// connection for a while without a message.
func (c *conn) probe(patience time.Duration) {
	defer c.probing.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if c.socket.Ping(ctx) != nil {
		return
	}
	heartbeat, by := c.hub.config.Heartbeat, c.sayBy.Load()
	longer := min(c.hub.now()+silence*heartbeat, time.Duration(c.heard.Load())+answeredSilent*heartbeat)
	if by < int64(longer) {
		c.sayBy.CompareAndSwap(by, int64(longer)) // unless it has said something meanwhile
	}
}

// buffers holds room for the longest message, and one byte more to see whether
// it ends there.
var buffers = sync.Pool{New: func() any { return new([protocol.MaxMessage + 1]byte) }}

// message is what a client sent, as it came.
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
	// No context: it would cost a goroutine's start and a lock for each
	// message. Closing the connection is what ends a read.
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

// check closes the connection of a client whose message is not of the protocol.
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

// write sends one message. It may be called by anybody; a client that does not
// take it within the write timeout is cut off. What waited for another message to be
// written has waited for the client, too.
func (c *conn) write(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	by := time.Now().Add(c.hub.config.WriteTimeout)
	c.writing.Lock()
	defer c.writing.Unlock()
	c.net.begin(by)
	err = c.socket.Write(context.Background(), websocket.MessageText, data)
	c.net.end()
	if err != nil {
		code := protocol.CloseAbnormal
		if errors.Is(err, os.ErrDeadlineExceeded) {
			code = protocol.CloseTooSlow
		}
		c.cut(code)
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// close says last, if there is something to say, and closes the connection
// with code. It does not wait for that; the first call counts. It returns
// errClosing, for readers to return.
func (c *conn) close(code protocol.CloseCode, text string, last any) error {
	if c.closing.CompareAndSwap(0, int32(code)) {
		c.aside(func() {
			if last != nil && c.write(last) != nil {
				return // it is cut off already
			}
			// The library waits for the answer without a deadline once it
			// is inside a frame.
			_ = c.net.SetReadDeadline(time.Now().Add(c.hub.config.WriteTimeout))
			_ = c.socket.Close(websocket.StatusCode(code), text) // a client that is gone does not answer
		})
	}
	return errClosing
}

// aside runs f beside the reader. A panic in it ends the connection.
func (c *conn) aside(f func()) {
	c.hub.running.Go(func() {
		var failed error
		defer func() {
			if failed != nil {
				c.cut(protocol.CloseAbnormal)
			}
		}()
		defer c.hub.config.Panics.Recover(panics.Connection, &failed)
		f()
	})
}

// cut ends the connection without a word.
func (c *conn) cut(code protocol.CloseCode) {
	c.closing.CompareAndSwap(0, int32(code))
	_ = c.net.Close()       // CloseNow alone would wait for a Close that is under way
	_ = c.socket.CloseNow() // only fails when it is closed
}

// Joined implements session.Client.
func (c *conn) Joined(j session.Joined) error {
	return c.write(protocol.FromJoined(j, c.hub.config.Heartbeat))
}

// Push implements session.Client.
func (c *conn) Push(p session.Push) error { return c.write(protocol.FromPush(p)) }

// End implements session.Client.
func (c *conn) End(e session.Ending) {
	_ = c.close(protocol.CloseForEnd(e.Reason), string(e.Reason), protocol.FromEnding(e))
}

// Lost implements session.Client.
func (c *conn) Lost() { _ = c.close(protocol.CloseLost, "no ack", nil) }
