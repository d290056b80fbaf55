package generator

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"refresher/internal/protocol"
)

// A waiting call uses little memory, including the other end of its connection in this process: up to
// 100,000 calls share a machine with the nodes.
func TestAWaitingCallIsSmall(t *testing.T) {
	const (
		calls     = 1000
		mostHeap  = 3600 // bytes of a call; measured: 2,430 to 3,010 with Go 1.26
		mostStack = 9000 // measured: 4,160, and 8,290 under the race detector
	)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var mu sync.Mutex
	var conns []net.Conn // guarded by mu
	go func() {
		for n := 1; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			answerJoin(conn, n)
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	}()
	heapBefore, stackBefore := inUse()
	c := valid()
	c.URLs, c.Calls, c.JoinRate, c.Duration = []string{"ws://" + listener.Addr().String() + "/v1/ws"}, calls, 2*calls, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var heap, stack float64
	ticks := 0 // ticks since all calls have joined
	c.Tick = func(r Report) {
		if r.Joins == calls {
			ticks++
		}
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns { // without pongs the calls would reconnect
			_, _ = conn.Write([]byte("\x81\x1e" + pongMessage))
		}
		if ticks < 4 { // one heartbeat after its join, a call releases its large buffer
			return
		}
		heap, stack = inUse()
		heap, stack = (heap-heapBefore)/calls, (stack-stackBefore)/calls
		cancel()
		_ = listener.Close() // this also closes the calls' connections, since the server does not answer their leave
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if g.Run(ctx); heap == 0 || heap > mostHeap || stack > mostStack {
		t.Errorf("%.0f bytes of heap and %.0f of stack a call; want at most %d and %d", heap, stack, mostHeap, mostStack)
	}
}

// answerJoin accepts the handshake, and sends a joined of the usual size.
func answerJoin(conn net.Conn, n int) {
	_, _ = conn.Read(make([]byte, 4096))
	message := fmt.Sprintf(`{"type":"joined","session":"session%015d","key":%q,"resumed":false,"seq":1,"tokens":{"rtc":{"token":%q,"expiresAt":%d}},"heartbeat":1,"renewBefore":300,"now":%d}`,
		n, strings.Repeat("k", 300), strings.Repeat("t", 400), time.Now().Add(time.Hour).Unix(), time.Now().UnixMilli())
	head := "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"
	_, _ = fmt.Fprintf(conn, "%s\x81\x7e%c%c%s", head, len(message)>>8, len(message)&0xff, message)
}

// inUse returns the bytes of heap and stacks in use.
func inUse() (heap, stack float64) {
	var m runtime.MemStats
	for range 4 { // each collection halves the stacks that are too large
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(m.StackInuse)
}

// silentConn discards writes and returns pongs to reads.
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

// The constant heartbeat texts equal the protocol's encoding.
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

// If one node refuses connections, calls try the other nodes without backoff.
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

// A source address has few enough calls for the ports that Linux finds at once.
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
