package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
)

// Proxy stands for a network between a client and a server. The network can fail on request. The bytes flow through
// toxiproxy, but the connections are this package's own, since toxiproxy has three flaws: it cannot reset a connection,
// it delivers the bytes of a blackhole when the blackhole ends, and it leaves goroutines behind if a client disconnects
// before it has read its answer.
type Proxy struct {
	t        testing.TB
	addr     string
	upstream string
	toxics   *toxiproxy.ToxicCollection
	black    atomic.Bool

	listener  *net.TCPListener // nil after Cut
	accepting sync.WaitGroup
	links     sync.WaitGroup
	opened    int

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // connections to clients and to the server
}

// StartProxy runs a proxy in front of the server at the address, on a port of its own.
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, upstream: upstream, conns: make(map[*net.TCPConn]struct{})}
	// toxiproxy.NewProxy is not used here, since it would need a logger.
	p.toxics = toxiproxy.NewToxicCollection(new(toxiproxy.Proxy))
	t.Cleanup(p.close)
	const tries = 10
	for try := 1; ; try++ {
		p.addr = address(freePort(t))
		err := p.open()
		if err == nil {
			return p
		}
		if try == tries {
			t.Fatalf("redistest: start a proxy: %v", err)
		}
	}
}

// Addr returns the proxy's address, as host:port.
func (p *Proxy) Addr() string { return p.addr }

// Slow delays every answer by d: it delays the request by half of d, and the answer by the other half. It replaces an
// earlier delay.
func (p *Proxy) Slow(d time.Duration) {
	p.t.Helper()
	p.hurry()
	there := (d / 2).Truncate(time.Millisecond)
	p.delay(slowThere, stream.Upstream, there)
	p.delay(slowBack, stream.Downstream, d-there)
}

// Blackhole discards every byte in both directions. Connections stay open, and new ones are
// accepted.
func (p *Proxy) Blackhole() { p.black.Store(true) }

// Cut resets all connections and refuses new ones.
func (p *Proxy) Cut() { p.close() }

// Heal ends every fault. Connections that were slow stay open. Connections in a blackhole have lost bytes, so Heal
// resets them.
func (p *Proxy) Heal() {
	p.t.Helper()
	p.hurry()
	if p.black.Load() {
		p.close()
		p.black.Store(false)
	}
	if p.listener != nil {
		return
	}
	if err := p.open(); err != nil {
		p.t.Fatalf("redistest: heal a proxy: %v", err)
	}
}

const (
	slowThere = "slow_there"
	slowBack  = "slow_back"
)

func (p *Proxy) delay(name string, direction stream.Direction, d time.Duration) {
	p.t.Helper()
	toxic := fmt.Sprintf(`{"name":%q,"type":"latency","stream":%q,"attributes":{"latency":%d}}`, name, direction, d.Milliseconds())
	if _, err := p.toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		p.t.Fatalf("redistest: add %s: %v", toxic, err)
	}
}

// hurry ends the delays: the delayed bytes flow at once.
func (p *Proxy) hurry() {
	for _, name := range []string{slowThere, slowBack} {
		if p.toxics.GetToxic(name) != nil {
			_ = p.toxics.RemoveToxic(lasting(p.t), name)
		}
	}
}

func (p *Proxy) open() error {
	listener, err := listen(p.t, p.addr)
	if err != nil {
		return err
	}
	p.listener = listener.(*net.TCPListener) //nolint:errcheck // what listening on TCP returns.
	p.accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.connect(conn.(*net.TCPConn)) //nolint:errcheck // what a TCP listener accepts.
		}
	})
	return nil
}

// close resets all connections, refuses new ones, and returns when all goroutines have ended.
func (p *Proxy) close() {
	p.stopListening()
	p.mu.Lock()
	for conn := range p.conns {
		reset(conn)
	}
	p.mu.Unlock()
	p.hurry() // the bytes that are still delayed are lost anyway, so their delay ends now
	p.links.Wait()
}

// stopListening frees the proxy's port. Close alone would not: a child process that is being started has a copy of the
// listener until its exec. So shutdown first ends the listening of all copies.
func (p *Proxy) stopListening() {
	if p.listener != nil {
		if raw, err := p.listener.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) })
		}
		p.listener.Close()
		p.listener = nil
	}
	p.accepting.Wait()
}

// connect links a client's connection to a new connection to the server.
func (p *Proxy) connect(client *net.TCPConn) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(lasting(p.t), "tcp", p.upstream)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn) //nolint:errcheck // what dialling TCP returns.
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	// toxiproxy requires a place for its metrics; here it is empty
	api := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)}
	p.opened++
	name := strconv.Itoa(p.opened)
	p.links.Add(2)
	p.toxics.StartLink(api, name+" there", client, &outlet{proxy: p, to: server, from: client}, stream.Upstream)
	p.toxics.StartLink(api, name+" back", server, &outlet{proxy: p, to: client, from: server}, stream.Downstream)
}

// reset closes a connection so that the other side sees an error instead of an end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // the connection may be closed already
	conn.Close()
}

// outlet is the end of one direction of a connection. It accepts all writes, even after its
// connection has closed, since toxiproxy leaks its goroutines if a write fails.
type outlet struct {
	proxy    *Proxy
	to, from *net.TCPConn
	failed   bool
}

func (o *outlet) Write(b []byte) (int, error) {
	if !o.failed && !o.proxy.black.Load() {
		if _, err := o.to.Write(b); err != nil {
			o.failed = true
			o.from.Close() // closes the source, so that toxiproxy's goroutines end
		}
	}
	return len(b), nil
}

// toxiproxy calls Close once, after the last write.
func (o *outlet) Close() error {
	o.proxy.mu.Lock()
	delete(o.proxy.conns, o.to)
	o.proxy.mu.Unlock()
	err := o.to.Close()
	o.proxy.links.Done()
	return err
}
