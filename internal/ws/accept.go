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

// Sizes of the library's buffers, in place of net/http's 4 KiB each way. Nearly every message
// of a client fits in readBuffer. writeBuffer holds the longest control frame, so that the
// library writes each at once; messages do not pass through it.
const (
	readBuffer  = 64
	writeBuffer = 128
)

// sendBuffer is how many bytes the kernel may keep for a client that does not read: the
// longest message and a few ordinary ones (Linux doubles it). By default a buffer grows to
// 4 MiB, so that a client that reads nothing is noticed only after minutes.
const sendBuffer = 16 << 10

// accept upgrades a request. It keeps no reference to the HTTP request, so that its memory
// is freed when the handler returns.
func (h *Hub) accept(w http.ResponseWriter, r *http.Request) (*conn, error) {
	lean := &leanHijacker{ResponseWriter: w, writeTimeout: h.writeTimeout}
	var c *conn // set before anything is read
	library, err := websocket.Accept(lean, r, &websocket.AcceptOptions{
		// The library answers pings itself, but a flood of them counts as one of messages.
		OnPingReceived: func(context.Context, []byte) bool { return c.charge() },
		OnPongReceived: func(context.Context, []byte) {
			if c.charge() {
				c.ponged()
			}
		},
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // the origin was checked, by our own rule
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	// The library has put a reader of what came early before the socket.
	if lean.early == 0 {
		lean.socket.reader.Reset(lean.socket)
	} else if _, err := lean.socket.reader.Peek(lean.early); err != nil { // so that await sees it
		return nil, err
	}
	library.SetReadLimit(-1) // read has a limit of its own, which the client is told of
	c = newConn(h, library, lean.socket, h.config.Access.ClientAddr(r))
	return c, nil
}

// leanHijacker hands over a connection with small buffers in place of net/http's own.
type leanHijacker struct {
	http.ResponseWriter
	writeTimeout time.Duration
	socket       *socket // set by Hijack
	early        int     // bytes that the client sent with its request; set by Hijack
}

// WriteHeader implements http.ResponseWriter.
func (w *leanHijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.Header()["Date"] = nil // which net/http would format; RFC 9110, section 6.6.1, asks for none here
	}
	w.ResponseWriter.WriteHeader(status)
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
	s := &socket{Conn: netConn, writeTimeout: w.writeTimeout, writing: newLock()}
	w.socket = s
	// net/http may have read what the client sent after its request.
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
