package apptest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// Network is a network of pipes in memory, so that nodes and clients run in one synctest bubble. Tests
// can cut connections and replace nodes.
type Network struct {
	mu    sync.Mutex
	ports map[string]*port // guarded by mu; keyed by address
	conns []*cable         // guarded by mu; the clients' ends of all connections
	turn  int              // guarded by mu; the node that the balancer chooses next
}

// NewNetwork makes a network without listeners.
func NewNetwork() *Network { return &Network{ports: make(map[string]*port)} }

// port is a listener on the network.
type port struct {
	network  *Network
	address  addr
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

type addr string

func (addr) Network() string { return "pipe" }

func (a addr) String() string { return string(a) }

func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() {
		p.network.mu.Lock()
		defer p.network.mu.Unlock()
		delete(p.network.ports, string(p.address))
		close(p.closed)
	})
	return nil
}

func (p *port) Addr() net.Addr { return p.address }

// Listen opens a port. It replaces an open port of the same address.
func (n *Network) Listen(_, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &port{network: n, address: addr(address), accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[address] = p
	return p, nil
}

// Dial connects to an address of the network.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	p := n.port(address)
	if p == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c := newCable(ours, p.address)
	n.conns = append(n.conns, c)
	return c, nil
}

// cable is a client's end of a connection. After a cable was unplugged, its connection is half open: no data arrives,
// and no operation fails. As with TCP, and unlike with a pipe, a write succeeds even if the peer has closed the
// connection. A client can therefore read an answer that the server sent before the client had written its whole
// request.
type cable struct {
	net.Conn
	to        addr // the address of the node
	unplugged chan struct{}
	closed    chan struct{}
	once      sync.Once
}

func newCable(c net.Conn, to addr) *cable {
	return &cable{Conn: c, to: to, unplugged: make(chan struct{}), closed: make(chan struct{})}
}

func (c *cable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.unplugged:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *cable) Write(p []byte) (int, error) {
	select {
	case <-c.unplugged:
		return len(p), nil
	default:
	}
	n, err := c.Conn.Write(p)
	select {
	case <-c.closed:
		return n, err
	default:
	}
	if errors.Is(err, io.ErrClosedPipe) {
		return len(p), nil
	}
	return n, err
}

func (c *cable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// port returns the port of an address. BalancerAddress leads to all nodes in turn.
func (n *Network) port(address string) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	if address != BalancerAddress {
		return n.ports[address]
	}
	var nodes []string
	for a := range n.ports {
		if strings.HasPrefix(a, "10.0.0.") {
			nodes = append(nodes, a)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	n.turn++
	return n.ports[nodes[n.turn%len(nodes)]]
}

// Unplug makes all connections half open.
func (n *Network) Unplug() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		close(c.unplugged)
	}
	n.conns = nil
}

// Cut breaks some of the connections.
func (n *Network) Cut(choose func() bool) {
	n.cutThose(func(*cable) bool { return choose() })
}

func (n *Network) cutThose(choose func(*cable) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := n.conns[:0]
	for _, c := range n.conns {
		if choose(c) {
			_ = c.Close()
		} else {
			kept = append(kept, c)
		}
	}
	n.conns = kept
}

// addressed is the server's end of a connection. It reports the address `from` as the client's address.
type addressed struct {
	net.Conn
	from addr
}

func (c addressed) RemoteAddr() net.Addr { return c.from }
