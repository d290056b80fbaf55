//go:build !race

package ws

import (
	"net"
	"net/http/httptest"
	"runtime"
	"testing"
)

// After messages and heartbeats, an idle connection keeps the smallest stack, and its memory stays within
// measured bounds. The race detector makes functions use more stack, so the test does not run under it.
func TestStack(t *testing.T) {
	hub := newHub(t, &sessions{}, nil)
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
		exchange(t, c, text(`{"type":"nack","seq":1} `), "") // because of the trailing space, the WebSocket library reads this message, with a larger stack
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
		exchange(t, c, frame(pongFrame, ""), "") // the pong that answers the node's ping
	}
	for hub.probed() { // waits until the pongs are handled
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

// stackAndHeap returns how many bytes of stack and heap the process uses after garbage collection.
func stackAndHeap() (stack, heap uint64) {
	for range 3 { // one garbage collection at most halves a stack, so several are needed
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse, m.HeapAlloc
}

func (h *Hub) probed() bool {
	for _, c := range h.all() {
		if c.probing.Load() {
			return true
		}
	}
	return false
}
