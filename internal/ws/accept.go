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

// Sizes of a connection's buffers, in place of net/http's 4 KiB each way. Messages of
// clients have about 100 bytes. A push for two services has about 900 bytes, which the
// write buffer holds, so that it takes one system call; longer ones take two.
const (
	readBuffer  = 512
	writeBuffer = 1 << 10
)

// sendBuffer is how many bytes the kernel may keep for a client that does not read: the
// longest message and a few ordinary ones (Linux doubles it). By default a buffer grows to
// 4 MiB, so that a client that reads nothing is noticed only after minutes.
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

// accept upgrades a request. It keeps no reference to the HTTP request, so that its memory
// is freed when the handler returns.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request) (*conn, error) {
	lean := &leanHijacker{ResponseWriter: w, writeTimeout: h.writeTimeout}
	var c *conn // set before anything is read
	socket, err := websocket.Accept(lean, r, &websocket.AcceptOptions{
		// The library answers pings itself, but a flood of them counts as one of messages.
		OnPingReceived:     func(context.Context, []byte) bool { return c.charge() },
		OnPongReceived:     func(context.Context, []byte) { c.charge() },
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // the origin was checked, by our own rule
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(-1) // read has a limit of its own, which the client is told of
	c = newConn(h, socket, lean.guarded, h.config.Access.ClientAddr(r))
	return c, nil
}

// leanHijacker hands over a connection with small buffers in place of net/http's own.
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
	// net/http may have read what the client sent after its request.
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

// freeBytes is how many bytes of a message count as one message for the client's rate; each
// freeBytes more count as another. So empty fragments, which the library skips, count too.
const freeBytes = 1 << 10

// guardedConn sets a deadline for each message, however many writes it takes, and for each
// write that the WebSocket library makes by itself. It counts bytes read.
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
		c.conn.charge()
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
// echoes a client's close frame; RFC 6455 wants 1007 for such a text.
func echoesGarbage(p []byte) bool {
	return len(p) > 4 && p[0] == closeFrame && int(p[1]) == len(p)-2 && !utf8.Valid(p[4:])
}

// Close closes the connection. If a write missed its deadline, it drops unsent data: TLS
// would wait 5 s to send its close_notify, and the kernel would keep the data for minutes.
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
