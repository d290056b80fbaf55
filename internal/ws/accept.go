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

// Sizes in bytes of the buffers through which the WebSocket library reads and writes. The buffers of net/http would take
// 4 KiB for each direction. Nearly every message of a client fits in readBuffer. writeBuffer has room for the longest
// control frame, so that the library sends each control frame with one write. Messages to clients do not pass through
// writeBuffer.
const (
	readBuffer  = 64
	writeBuffer = 128
)

// sendBuffer is the size of the kernel's send buffer in bytes (Linux doubles it). The buffer has room for the longest
// message and a few ordinary ones. By default the kernel lets a send buffer grow to 4 MiB: if a client stopped reading,
// writes to it would still succeed for minutes.
const sendBuffer = 16 << 10

// accept upgrades an HTTP request to a WebSocket. The connection keeps no reference to the
// request, so the request's memory is freed when the handler returns.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request) (*conn, error) {
	lean := &leanHijacker{ResponseWriter: w, writeTimeout: h.writeTimeout}
	var c *conn // the callbacks below use c, but only while the WebSocket library reads; c is set before the first read
	library, err := websocket.Accept(lean, r, &websocket.AcceptOptions{
		// The WebSocket library answers pings itself. This callback counts them for the message rate, so that a client
		// cannot flood the node with pings.
		OnPingReceived: func(context.Context, []byte) bool { return c.charge() },
		OnPongReceived: func(context.Context, []byte) {
			if c.charge() {
				c.ponged()
			}
		},
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // ServeHTTP has checked the origin, so the WebSocket library need not check it
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	// The reader of the WebSocket library first returns the early bytes, which the client sent together with its
	// request, and then the bytes of the socket. Without early bytes it can read from the socket directly.
	if lean.early == 0 {
		lean.socket.reader.Reset(lean.socket)
	} else if _, err := lean.socket.reader.Peek(lean.early); err != nil { // Peek moves the early bytes to the reader's buffer, where socket.await finds them
		return nil, err
	}
	library.SetReadLimit(-1) // no limit, since conn.check limits the size of messages and tells the client the reason
	c = newConn(h, library, lean.socket, h.config.Access.ClientAddr(r))
	return c, nil
}

// leanHijacker gives the connection to the WebSocket library with small buffers instead of those of net/http.
type leanHijacker struct {
	http.ResponseWriter
	writeTimeout time.Duration
	socket       *socket // set by Hijack
	early        int     // number of bytes that the client sent together with its request; set by Hijack
}

// WriteHeader implements http.ResponseWriter.
func (w *leanHijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.Header()["Date"] = nil // omits Date: it takes time to format, and RFC 9110, section 6.6.1, does not require it in 1xx answers
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack implements http.Hijacker.
func (w *leanHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	netConn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if c, ok := bottom(netConn).(interface{ SetWriteBuffer(bytes int) error }); ok { // the pipes of tests lack this method
		_ = c.SetWriteBuffer(sendBuffer) // fails only if the connection is closed, and then writes fail too
	}
	s := &socket{Conn: netConn, writeTimeout: w.writeTimeout, writing: newLock()}
	w.socket = s
	// net/http may already have read bytes that the client sent after its request; these bytes are read before those of
	// the socket.
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
