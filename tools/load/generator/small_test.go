package generator

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"refresher/internal/protocol"
)

// silentConn is a connection that discards all writes, and on which each read returns a pong.
type silentConn struct{ net.Conn }

func (silentConn) Write(b []byte) (int, error)      { return len(b), nil }
func (silentConn) Read(b []byte) (int, error)       { return copy(b, "\x81\x1e"+pongMessage), nil }
func (silentConn) SetReadDeadline(time.Time) error  { return nil }
func (silentConn) SetWriteDeadline(time.Time) error { return nil }

const pongMessage = `{"type":"pong","now":12345678}`

func TestAHeartbeatAllocatesLittle(t *testing.T) {
	g, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	c := &g.calls[0]
	c.wire = &wire{net: silentConn{}, stats: &g.stats}
	ping := &protocol.ClientMessage{Type: protocol.TypePing}
	if n := testing.AllocsPerRun(100, func() {
		c.send(ping)
		c.do(c.event())
	}); n > 1 {
		t.Errorf("%v allocations, want the frame's", n)
	}
}

// While nothing arrives, a connection keeps only its small buffer, since up to 100,000 calls share a machine with the
// nodes.
func TestIdleConnectionIsSmall(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	w := &wire{net: near, buffer: make([]byte, 0, bufferSize), stats: new(stats)}
	if err := near.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.more(); !errors.Is(err, os.ErrDeadlineExceeded) || cap(w.buffer) != idleSize {
		t.Errorf("%v, %d bytes", err, cap(w.buffer))
	}
}

// The constant texts of heartbeats must be what the protocol would encode.
func TestHeartbeatsAreTheProtocols(t *testing.T) {
	ping, err := json.Marshal(protocol.ClientMessage{Type: protocol.TypePing})
	if err != nil || string(ping) != string(pingText) {
		t.Errorf("ping %s, want %s (%v)", pingText, ping, err)
	}
	answer, err := json.Marshal(protocol.Pong{Type: protocol.TypePong, Now: 1})
	if err != nil || !strings.HasPrefix(string(answer), string(pongPrefix)) {
		t.Errorf("pong %s begins otherwise than %s (%v)", answer, pongPrefix, err)
	}
}

// If one node refuses connections, calls try the other nodes at once.
func TestARefusedConnectionGoesToAnotherNode(t *testing.T) {
	c := valid()
	c.URLs = append(c.URLs, "ws://127.0.0.1:2/v1/ws")
	var tried []string
	c.dial = func(_ int, target *url.URL) (net.Conn, error) {
		tried = append(tried, target.Host)
		if target.Port() == "1" {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return silentConn{}, nil
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	conn, target, err := g.calls[0].dial()
	if conn == nil || err != nil || target.Port() != "2" || strings.Join(tried, " ") != "127.0.0.1:1 127.0.0.1:2" {
		t.Errorf("tried %v: %v, %v", tried, target, err)
	}
}

// No source address has more calls than the number of ports that Linux finds quickly.
func TestCallsShareASourceWithFew(t *testing.T) {
	calls := make(map[string]int)
	for n := range MaxCalls {
		calls[source(n).IP.String()]++
	}
	if len(calls) != MaxCalls/callsPerSource {
		t.Errorf("%d source addresses for %d calls", len(calls), MaxCalls)
	}
	for address, n := range calls {
		if ip := net.ParseIP(address); n != callsPerSource || !ip.IsLoopback() {
			t.Errorf("%d calls from %s", n, address)
		}
	}
}
