//go:build programs

package clients

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// state tells how a network treats connections.
type state int

const (
	up        state = iota // forwards them
	silent                 // drops every byte and keeps connections open, as if the far end had lost its network
	noUpgrade              // answers WebSocket handshakes with 403, as some proxies do, and lets HTTP through
)

// network forwards connections from clients to a node. A test can break it.
type network struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex
	node     string                // guarded by mu; address of the node
	state    state                 // guarded by mu
	open     map[net.Conn]struct{} // guarded by mu
	accepted chan struct{}         // guarded by mu; the next connection closes this channel
}

func newNetwork(t *testing.T, node string) *network {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: listener, node: node, open: map[net.Conn]struct{}{}, accepted: make(chan struct{})}
	n.wait.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			n.wait.Go(func() { n.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		n.set(up)
		n.wait.Wait()
	})
	return n
}

func (n *network) url() string { return "http://" + n.listener.Addr().String() }

// set changes the state. It resets all connections, unless the new state is silent.
func (n *network) set(s state) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = s
	for conn := range n.open {
		if s != silent {
			conn.Close()
		}
	}
}

func (n *network) move(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node = node
}

// next returns a channel that is closed when the next connection comes.
func (n *network) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.accepted
}

func (n *network) now() state {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

func (n *network) serve(client net.Conn) {
	n.mu.Lock()
	node := n.node
	n.open[client] = struct{}{}
	close(n.accepted)
	n.accepted = make(chan struct{})
	n.mu.Unlock()
	defer func() {
		client.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.open, client)
	}()
	server, err := net.Dial("tcp", node)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		defer client.Close()
		n.copy(client, server)
	})
	n.copy(server, client)
	server.Close()
	back.Wait()
}

// copy forwards bytes until either end closes.
func (n *network) copy(to, from net.Conn) {
	buffer := make([]byte, 16<<10)
	for {
		length, err := from.Read(buffer)
		data := buffer[:length]
		switch n.now() {
		case silent:
			data = nil
		case noUpgrade:
			if bytes.Contains(bytes.ToLower(data), []byte("upgrade: websocket")) {
				_, _ = io.WriteString(from, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return
			}
		case up:
		}
		if _, failed := to.Write(data); failed != nil || err != nil {
			return
		}
	}
}
