//go:build !race

package ws

import (
	"log/slog"
	"net"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A waiting connection has the smallest stack, even after messages and heartbeats, and its memory
// does not grow beyond the measured bytes. The test does not run under the race detector, which makes
// functions use more stack.
func TestStack(t *testing.T) {
	hub, err := New(Config{
		Sessions: &sessions{t: t}, Access: openAccess{}, Origins: ownOrigin(t), Heartbeat: time.Minute,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hub)
	defer server.Close()
	defer hub.Close()
	const count = 500
	conns := make([]net.Conn, count)
	stack, heap := stackAndHeap()
	for i := range conns {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		exchange(t, c, []byte(handshake), "\r\n\r\n")
		exchange(t, c, text(joinText), "joined")
		exchange(t, c, text(`{"type":"nack","seq":1} `), "") // by the library
	}
	for _, c := range conns {
		exchange(t, c, text(`{"type":"ack","seq":1}`), "")
		exchange(t, c, text(`{"type":"ping"}`), "pong")
		exchange(t, c, text(`{"type":"ping"}`), "pong")
	}
	for _, conn := range hub.all() {
		conn.probing.Store(true)
	}
	for _, c := range conns {
		exchange(t, c, frame(pongFrame, ""), "") // the answer to a probe
	}
	for hub.probed() { // until the pongs are read
		runtime.Gosched()
	}
	stackNow, heapNow := stackAndHeap()
	perStack, perHeap := (stackNow-stack)/count, (heapNow-heap)/count
	t.Logf("a connection: %d bytes of stack, %d of heap, with this test's side of it", perStack, perHeap)
	if perStack > 2500 {
		t.Errorf("a connection keeps %d bytes of stack; want 2 KiB", perStack)
	}
	if perHeap > 5500 {
		t.Errorf("a connection keeps %d bytes of heap, with this test's side of it", perHeap)
	}
}

// stackAndHeap returns the bytes that the process uses, without garbage.
func stackAndHeap() (stack, heap uint64) {
	for range 3 { // a stack shrinks by half at a time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse, m.HeapAlloc
}

// probed reports whether any connection waits for a pong.
func (h *Hub) probed() bool {
	for _, c := range h.all() {
		if c.probing.Load() {
			return true
		}
	}
	return false
}
