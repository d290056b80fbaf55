package app

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/web/demo/edge"
)

// network is a switchboard of pipes, so that a whole service and its clients
// live in one bubble. Connections can be cut, and the service be replaced.
type network struct {
	mu    sync.Mutex
	ports map[string]*port // guarded by mu, by address
	conns []*cable         // guarded by mu; the clients' ends
	turn  int              // guarded by mu; the balancer's
}

// port is a listener on the network.
type port struct {
	network  *network
	address  addr
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

type addr string

func (addr) Network() string  { return "pipe" }
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

// listen opens a port; the address is taken over from the one before.
func (n *network) listen(_, address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &port{network: n, address: addr(address), accepted: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[address] = p
	return p, nil
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
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

// cable is a client's end of a connection. Unplugged, it is half open: nothing
// arrives, nothing fails. Like TCP, and unlike the pipe under it, it takes what
// is written to an end that has closed: an answer that came before the request
// was all written is read, as it is from a real server.
type cable struct {
	net.Conn
	to        addr // of the node
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

// port is where an address leads to. balancerAddress leads to any node that there
// is, in turns.
func (n *network) port(address string) *port {
	n.mu.Lock()
	defer n.mu.Unlock()
	if address != balancerAddress {
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

// unplug makes all connections half open.
func (n *network) unplug() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		close(c.unplugged)
	}
	n.conns = nil
}

// cut breaks some of the connections.
func (n *network) cut(choose func() bool) {
	n.cutThose(func(*cable) bool { return choose() })
}

func (n *network) cutThose(choose func(*cable) bool) {
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

// world is a service, clients in calls, and the judge, in one bubble.
type world struct {
	t       *testing.T
	network *network
	edge    *edge.Edge
	calls   sync.WaitGroup
	ctx     context.Context
	end     context.CancelFunc

	renewals atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	judge, err := edge.New(edge.Config{AppID: testAppID, Certificate: testCertificate})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, network: &network{ports: make(map[string]*port)}, edge: judge}
	w.ctx, w.end = context.WithCancel(context.Background())
	t.Cleanup(judge.Close)
	return w
}

// serviceAddress is that of a service of one node, balancerAddress what stands
// before one of many.
const (
	serviceAddress  = "127.0.0.1:8080"
	balancerAddress = "127.0.0.1:80"
)

func (w *world) startNode() *node { return w.startNodeWith(func(*Config) {}) }

func (w *world) startNodeWith(change func(*Config)) *node {
	return start(w.t, func(c *Config) {
		c.Listen = serviceAddress
		c.DrainWindow = 5 * time.Second
		change(c)
	}, Outside{Listen: w.network.listen})
}

// call holds a call at the judge with the tokens that the service gives it,
// as an SDK and an app would.
func (w *world) call(uid uint32, ttl int64) { w.callAt(serviceAddress, uid, ttl) }

func (w *world) callAt(address string, uid uint32, ttl int64) {
	user := strconv.Itoa(int(uid))
	transport := &http.Transport{DialContext: w.network.dial, DisableKeepAlives: true}
	var legs struct{ rtc, rtm *edge.Call }
	join := func(b client.Bundle) error {
		var err error
		if legs.rtc, err = w.edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: user, Token: b.Tokens.RTC.Token}); err != nil {
			return err
		}
		legs.rtm, err = w.edge.Join(edge.JoinRequest{Leg: edge.RTM, User: user, Token: b.Tokens.RTM.Token})
		return err
	}
	c := client.New(client.Config{
		URL:        "ws://" + address + "/v1/ws",
		HTTPClient: &http.Client{Transport: transport},
		Join: protocol.ClientMessage{
			RTC: &protocol.RTC{Channel: "c", UID: &uid, Role: 1}, RTM: &protocol.User{UserID: user}, TTL: &ttl,
		},
		Apply: func(_ context.Context, b client.Bundle) error {
			if b.First || b.Action == protocol.ActionRejoin {
				return join(b)
			}
			w.renewals.Add(1)
			return errors.Join(legs.rtc.Renew(b.Tokens.RTC.Token), legs.rtm.Renew(b.Tokens.RTM.Token))
		},
	})
	w.calls.Go(func() {
		defer transport.CloseIdleConnections()
		if err := c.Run(w.ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("call %d ended: %v", uid, err)
		}
	})
}

// verdict ends the calls and demands that the judge saw nothing lost.
func (w *world) verdict(calls int) edge.Record {
	w.t.Helper()
	synctest.Wait()
	record := w.edge.Record()
	w.end()
	w.calls.Wait()
	if len(record.Calls) != 2*calls {
		w.t.Errorf("the judge saw %d legs of %d calls", len(record.Calls), calls)
	}
	for _, c := range record.Calls {
		if c.LostSeconds != 0 || c.Drops != 0 || c.RenewalsRefused != 0 || c.Joins != 1 {
			w.t.Errorf("call lost: %+v", c)
		}
	}
	return record
}

func TestCallsOfADayLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startNode()
		ttls := []int64{10, 12, 60, 3600, 86400}
		for i, ttl := range ttls {
			w.call(uint32(i+1), ttl)
		}
		time.Sleep(3 * time.Hour) // bubble
		record := w.verdict(len(ttls))
		if held, want := record.Total.HeldSeconds, 3*3600.0*float64(2*len(ttls)); held < want-1 {
			t.Errorf("held %v call-seconds of %v", held, want)
		}
		t.Logf("%d renewals, %v call-seconds lost", w.renewals.Load(), record.Total.LostSeconds)
	})
}

// Every few seconds connections break; every few minutes the node is deployed
// anew, and knows nothing but what the clients' keys say.
func TestCallsSurviveBrokenConnectionsAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.startNode()
		const calls = 10
		for i := range calls {
			w.call(uint32(i+1), 60)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for minute := range 120 {
			for range 6 {
				time.Sleep(10 * time.Second) // bubble
				w.network.cut(func() bool { return r.IntN(10) == 0 })
			}
			if minute%5 == 4 {
				n.stop()
				n = w.startNode()
			}
		}
		record := w.verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left", w.renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds)
	})
}

// A network that goes without a word is noticed by the heartbeat, on both sides.
func TestCallsSurviveHalfOpenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.startNodeWith(func(c *Config) { c.Heartbeat = 5 * time.Second })
		const calls = 5
		for i := range calls {
			w.call(uint32(i+1), 90)
		}
		for range 10 {
			time.Sleep(2 * time.Minute) // bubble
			w.network.unplug()
		}
		time.Sleep(time.Minute) // bubble
		w.verdict(calls)
	})
}

// A node that cannot read a client's key has it join afresh; the call goes on
// with the new session's tokens.
func TestCallsSurviveALostSessionSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.startNodeWith(func(c *Config) { c.SessionSecret = "the secret of the first node" })
		w.call(1, 60)
		time.Sleep(10 * time.Minute) // bubble
		n.stop()
		w.startNodeWith(func(c *Config) { c.SessionSecret = "another secret that nobody told" })
		time.Sleep(10 * time.Minute) // bubble
		w.verdict(1)
	})
}

// A client whose tokens ran out while it was away joins its call again with
// those that it gets on its return.
func TestCallThatWasAwayForTooLongRejoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.startNode()
		w.call(1, 10)
		time.Sleep(time.Minute) // bubble
		n.stop()
		time.Sleep(30 * time.Second) // bubble
		w.startNode()
		time.Sleep(time.Minute) // bubble
		record := w.edge.Record()
		for _, c := range record.Calls {
			if c.Drops != 1 || c.Joins != 2 || c.LostSeconds < 15 || c.LostSeconds > 45 || c.State != "in-call" {
				t.Errorf("call %+v", c)
			}
		}
		w.end()
		w.calls.Wait()
	})
}
