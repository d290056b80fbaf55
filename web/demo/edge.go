package demo

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"refresher/web/demo/edge"
)

// serveEdge answers GET /demo/edge: a WebSocket to the simulated edge, for pages of this origin and of the origins that
// the service allows. The service has already written an allowed origin into the header Access-Control-Allow-Origin.
func (d *Demo) serveEdge(w http.ResponseWriter, r *http.Request) {
	if !d.enterEdge() {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the demo stops, or has all the connections to its edge that it takes; close another tab")
		return
	}
	defer d.leaveEdge()
	allowed := w.Header().Get("Access-Control-Allow-Origin") != ""
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: allowed}) // Accept checks the origin unless it is already allowed, and answers the request if it refuses the origin
	if err != nil {
		d.config.Logger.Debug("edge: handshake refused", "error", err)
		return
	}
	socket.SetReadLimit(edge.MaxLine)
	d.config.Edge.ServeConn(d.ctx, &frames{ctx: d.ctx, socket: socket})
}

// enterEdge counts a new connection to the simulated edge. It returns false if there are already MaxEdges, or if the
// demo is closed.
func (d *Demo) enterEdge() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.edges == d.config.MaxEdges {
		return false
	}
	d.edges++
	d.parts.Add(1)
	return true
}

func (d *Demo) leaveEdge() {
	d.mu.Lock()
	d.edges--
	d.mu.Unlock()
	d.parts.Done()
}

// frames is a net.Conn over a WebSocket whose text frames are lines: it reads each frame as one line, and writes each
// line as one frame. One goroutine may read while another writes.
type frames struct {
	ctx     context.Context
	socket  *websocket.Conn
	unread  []byte    // rest of the last line
	writeBy time.Time // deadline of writes; zero means that there is none
}

// Read implements net.Conn. A binary frame is read as an empty line, which the simulated edge
// answers as malformed.
func (f *frames) Read(p []byte) (int, error) {
	if len(f.unread) == 0 {
		kind, line, err := f.socket.Read(f.ctx)
		if err != nil {
			return 0, err
		}
		if kind != websocket.MessageText {
			line = nil
		}
		f.unread = append(bytes.TrimRight(line, "\n"), '\n')
	}
	n := copy(p, f.unread)
	f.unread = f.unread[n:]
	return n, nil
}

// Write implements net.Conn; p is one line, with its newline.
func (f *frames) Write(p []byte) (int, error) {
	ctx := f.ctx
	if !f.writeBy.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, f.writeBy)
		defer cancel()
	}
	if err := f.socket.Write(ctx, websocket.MessageText, bytes.TrimSuffix(p, []byte("\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements net.Conn. It does not wait for the peer's close frame, so that the demo
// stops at once.
func (f *frames) Close() error { return f.socket.CloseNow() }

// SetWriteDeadline implements net.Conn. Only the goroutine that writes may call it.
func (f *frames) SetWriteDeadline(t time.Time) error {
	f.writeBy = t
	return nil
}

// SetReadDeadline implements net.Conn. It does nothing: clients may be silent for as long
// as they like.
func (f *frames) SetReadDeadline(time.Time) error { return nil }

// SetDeadline implements net.Conn.
func (f *frames) SetDeadline(t time.Time) error { return f.SetWriteDeadline(t) }

// LocalAddr implements net.Conn.
func (f *frames) LocalAddr() net.Addr { return address{} }

// RemoteAddr implements net.Conn.
func (f *frames) RemoteAddr() net.Addr { return address{} }

// address is the net.Addr of both ends.
type address struct{}

// Network implements net.Addr.
func (address) Network() string { return "websocket" }

// String implements net.Addr.
func (address) String() string { return "websocket" }
