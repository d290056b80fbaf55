package ws

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// Sizes in bytes of the buffers that the WebSocket library reads and writes through; net/http would give it 4
// KiB for each direction. Nearly every message of a client fits in readBuffer. writeBuffer holds the longest
// control frame, so that the library sends each with one write; messages do not pass through it.
const (
	readBuffer  = 64
	writeBuffer = 128
)

// sendBuffer is the size of the kernel's send buffer in bytes (Linux doubles it). It holds the longest
// message and a few ordinary ones. The kernel's default grows to 4 MiB: a write to a client that has stopped
// reading would then succeed for minutes before one blocks.
const sendBuffer = 16 << 10

// accept upgrades an HTTP request to a WebSocket. The connection keeps no reference to the
// request, so the request's memory is freed when the handler returns.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request) (*conn, error) {
	lean := &leanHijacker{ResponseWriter: w, writeTimeout: h.writeTimeout}
	var c *conn // c is set before the library reads anything
	library, err := websocket.Accept(lean, r, &websocket.AcceptOptions{
		// The library answers pings itself, but this callback counts them for the message rate. Otherwise a client
		// could flood the node with pings.
		OnPingReceived: func(context.Context, []byte) bool { return c.charge() },
		OnPongReceived: func(context.Context, []byte) {
			if c.charge() {
				c.ponged()
			}
		},
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // ServeHTTP has checked the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	// The library has set up the reader so that the reader returns the early bytes before those of the socket.
	if lean.early == 0 {
		lean.socket.reader.Reset(lean.socket)
	} else if _, err := lean.socket.reader.Peek(lean.early); err != nil { // so that `await` finds them in the reader
		return nil, err
	}
	library.SetReadLimit(-1) // no limit here: conn.check limits the size, and tells the client why
	c = newConn(h, library, lean.socket, h.config.Access.ClientAddr(r))
	return c, nil
}

// leanHijacker hands the connection to the library with small buffers in place of net/http's.
type leanHijacker struct {
	http.ResponseWriter
	writeTimeout time.Duration
	socket       *socket // set by Hijack
	early        int     // number of bytes that the client sent together with its request; set by Hijack
}

// WriteHeader implements http.ResponseWriter.
func (w *leanHijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.Header()["Date"] = nil // suppress Date: formatting it costs time, and RFC 9110, section 6.6.1, requires none in a 1xx
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (w *leanHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	netConn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if c, ok := bottom(netConn).(interface{ SetWriteBuffer(bytes int) error }); ok { // an in-memory pipe does not have this method
		_ = c.SetWriteBuffer(sendBuffer) // fails only if the connection is closed, and then writes fail too
	}
	s := &socket{Conn: netConn, writeTimeout: w.writeTimeout, writing: newLock()}
	w.socket = s
	// net/http may have read bytes that the client sent directly after its request.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	var source io.Reader = s
	if len(early) > 0 {
		source = io.MultiReader(bytes.NewReader(bytes.Clone(early)), s)
	}
	s.reader = bufio.NewReaderSize(source, max(readBuffer, len(early)))
	if _, err := s.reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	w.early = len(early)
	s.raw = newRaw(netConn)
	return s, bufio.NewReadWriter(s.reader, bufio.NewWriterSize(s, writeBuffer)), nil
}

// bottom returns the socket beneath the layers of c, such as TLS or the reader of a PROXY header.
func bottom(c net.Conn) net.Conn {
	for {
		layer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = layer.NetConn()
	}
}
