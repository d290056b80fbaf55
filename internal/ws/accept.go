package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// Sizes of a connection's buffers. What net/http brings along is 4 KiB each
// way, and its memory of the request besides. Clients say about 100 bytes at a
// time. A push of two services is some 900 bytes, which the write buffer holds
// whole, so that it leaves in one system call; longer ones take two.
const (
	readBuffer  = 512
	writeBuffer = 1 << 10
)

// sendBuffer is how many bytes the kernel may keep for a client that does not read.
// It holds the longest message, and a few ordinary ones; Linux doubles it, to
// have room for its own bookkeeping. By default a buffer grows to 4 MiB, so that a client
// that reads nothing is noticed only after minutes.
const sendBuffer = 16 << 10

// bottom returns the socket under the layers of c: TLS, and a PROXY header's reader.
func bottom(c net.Conn) net.Conn {
	for {
		layer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = layer.NetConn()
	}
}

// accept upgrades a request. Nothing of the HTTP request stays referenced, so
// that its memory goes with its handler.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request) (*conn, error) {
	lean := &leanHijacker{ResponseWriter: w, writeTimeout: h.config.WriteTimeout}
	var c *conn // set before anything is read
	socket, err := websocket.Accept(lean, r, &websocket.AcceptOptions{
		// The library takes pings and pongs by itself; a flood of them is one of
		// messages all the same.
		OnPingReceived:     func(context.Context, []byte) bool { return c.pay() },
		OnPongReceived:     func(context.Context, []byte) { c.pay() },
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // the origin was checked, by our own rule
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(-1) // read keeps the limit, since it has to say so first
	c = newConn(h, socket, lean.guarded, h.config.Access.ClientAddr(r))
	return c, nil
}

// leanHijacker hands over a connection with buffers made for this traffic in
// place of net/http's own.
type leanHijacker struct {
	http.ResponseWriter
	writeTimeout time.Duration
	guarded      *guardedConn // set by Hijack
}

// Hijack implements http.Hijacker.
func (w *leanHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	netConn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if c, ok := bottom(netConn).(interface{ SetWriteBuffer(bytes int) error }); ok { // a pipe has none
		_ = c.SetWriteBuffer(sendBuffer) // fails when the connection is closed, as the writes will
	}
	guarded := &guardedConn{Conn: netConn, writeTimeout: w.writeTimeout}
	w.guarded = guarded
	// What the client sent before it had the answer was read already.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	var source io.Reader = guarded
	if len(early) > 0 {
		source = io.MultiReader(bytes.NewReader(bytes.Clone(early)), guarded)
	}
	reader := bufio.NewReaderSize(source, max(readBuffer, len(early)))
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return guarded, bufio.NewReadWriter(reader, bufio.NewWriterSize(guarded, writeBuffer)), nil
}

// freeBytes is how many bytes a client may send for one message; more cost it another
// message for each freeBytes. So fragments without content, which the library reads by
// itself, count too.
const freeBytes = 1 << 10

// guardedConn gives each message a deadline, however many writes it takes, and each
// write that the WebSocket library makes by itself. It counts what comes in.
type guardedConn struct {
	net.Conn
	writeTimeout time.Duration
	conn         *conn        // what it is part of; set before anything is read
	unpaid       atomic.Int64 // bytes read since the last message
	message      atomic.Bool  // one is being written: its deadline is set
	stuck        atomic.Bool  // a write has missed its deadline
}

func (c *guardedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for over := c.unpaid.Add(int64(n)); over > freeBytes; over = c.unpaid.Add(-freeBytes) {
		c.conn.pay()
	}
	return n, err
}

// begin is called before a message is written, one at a time, and end after it.
func (c *guardedConn) begin(by time.Time) {
	c.message.Store(true)
	_ = c.SetWriteDeadline(by) // fails when the connection is closed, as the write will
}

func (c *guardedConn) end() { c.message.Store(false) }

func (c *guardedConn) Write(p []byte) (int, error) {
	if !c.message.Load() {
		if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
			return 0, err
		}
	}
	if echoesGarbage(p) {
		_, err := c.Conn.Write(notUTF8)
		return len(p), err
	}
	n, err := c.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stuck.Store(true)
	}
	return n, err
}

// notUTF8 is a close frame with the code 1007.
var notUTF8 = []byte{closeFrame, 2, byte(protocol.CloseNotUTF8 >> 8), byte(protocol.CloseNotUTF8 & 0xff)}

const closeFrame = 0x88

// echoesGarbage reports whether p is a close frame whose text is not UTF-8. The library
// answers a client's close with what it said, where RFC 6455 wants 1007 for such a text.
func echoesGarbage(p []byte) bool {
	return len(p) > 4 && p[0] == closeFrame && int(p[1]) == len(p)-2 && !utf8.Valid(p[4:])
}

// Close closes the connection. If a write missed its deadline, it drops what is unsent:
// TLS would wait 5 s to send its close_notify, and the kernel keep the data for minutes.
func (c *guardedConn) Close() error {
	if !c.stuck.Load() {
		return c.Conn.Close()
	}
	b := bottom(c.Conn)
	if tcp, ok := b.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails when the connection is closed
	}
	return b.Close()
}
