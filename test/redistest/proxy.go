package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
)

// Proxy is a network between a client and a server, which fails as told.
//
// The bytes flow through toxiproxy, between connections that are this package's
// own: toxiproxy cannot reset one, delivers what it held back when a blackhole
// opens, and leaves goroutines behind where a client goes away before it has
// read its answer.
type Proxy struct {
	t        testing.TB
	addr     string
	upstream string
	toxics   *toxiproxy.ToxicCollection
	black    atomic.Bool

	listener  net.Listener // nil while cut
	accepting sync.WaitGroup
	links     sync.WaitGroup
	opened    int // connections so far; toxiproxy wants a name for each

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // of both sides
}

// StartProxy runs a proxy before the server at the address, on a port of its own.
func StartProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, upstream: upstream, conns: make(map[*net.TCPConn]struct{})}
	// Not toxiproxy.NewProxy, which wants a logger.
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

// Addr is where the proxy listens, as host:port.
func (p *Proxy) Addr() string { return p.addr }

// Slow delays every answer by d: half of it on the way there, half on the way
// back. It replaces an earlier delay.
func (p *Proxy) Slow(d time.Duration) {
	p.t.Helper()
	p.hurry()
	there := (d / 2).Truncate(time.Millisecond) // what toxiproxy counts in
	p.delay(slowThere, stream.Upstream, there)
	p.delay(slowBack, stream.Downstream, d-there)
}

// Blackhole swallows every byte, both ways. Connections stay, and new ones are
// taken.
func (p *Proxy) Blackhole() { p.black.Store(true) }

// Cut resets all connections and refuses new ones.
func (p *Proxy) Cut() { p.close() }

// Heal undoes every fault. Connections that were slow go on; those in a
// blackhole have lost bytes, and are reset.
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

// delay slows all connections, in one direction.
func (p *Proxy) delay(name string, direction stream.Direction, d time.Duration) {
	p.t.Helper()
	toxic := fmt.Sprintf(`{"name":%q,"type":"latency","stream":%q,"attributes":{"latency":%d}}`, name, direction, d.Milliseconds())
	if _, err := p.toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		p.t.Fatalf("redistest: add %s: %v", toxic, err)
	}
}

// hurry ends the delays; what they held back flows on at once.
func (p *Proxy) hurry() {
	for _, name := range []string{slowThere, slowBack} {
		if p.toxics.GetToxic(name) != nil {
			// It fails only on a name that is not there.
			_ = p.toxics.RemoveToxic(lasting(p.t), name)
		}
	}
}

// open listens at the proxy's address.
func (p *Proxy) open() error {
	listener, err := listen(p.t, p.addr)
	if err != nil {
		return err
	}
	p.listener = listener
	p.accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			p.connect(conn.(*net.TCPConn)) //nolint:errcheck // what a TCP listener accepts.
		}
	})
	return nil
}

// close resets all connections, refuses new ones, and returns when no goroutine
// is left.
func (p *Proxy) close() {
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.accepting.Wait()
	p.mu.Lock()
	for conn := range p.conns {
		reset(conn)
	}
	p.mu.Unlock()
	p.hurry() // what is under way has nowhere to go; waiting for it is no use
	p.links.Wait()
}

// connect links a client's connection to one of its own to the server.
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
	// It wants somewhere to look for its metrics, and finds none.
	api := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)}
	p.opened++
	name := strconv.Itoa(p.opened)
	p.links.Add(2)
	p.toxics.StartLink(api, name+" there", client, &outlet{proxy: p, to: server, from: client}, stream.Upstream)
	p.toxics.StartLink(api, name+" back", server, &outlet{proxy: p, to: client, from: server}, stream.Downstream)
}

// reset closes a connection so that the other side sees an error, not an end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // it may be closed already
	conn.Close()
}

// outlet is where one direction of a connection comes out. It takes all that is
// written to it, even if nobody is there any more: toxiproxy abandons its
// goroutines with what they hold when a write fails.
type outlet struct {
	proxy    *Proxy
	to, from *net.TCPConn
	failed   bool
}

func (o *outlet) Write(b []byte) (int, error) {
	if !o.failed && !o.proxy.black.Load() {
		if _, err := o.to.Write(b); err != nil {
			o.failed = true
			o.from.Close() // the source of it all; then toxiproxy comes to its end
		}
	}
	return len(b), nil
}

// Close is called once, when all has been written.
func (o *outlet) Close() error {
	o.proxy.mu.Lock()
	delete(o.proxy.conns, o.to)
	o.proxy.mu.Unlock()
	err := o.to.Close()
	o.proxy.links.Done()
	return err
}
