//go:build programs

package proxies

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
	"refresher/test/redistest"
)

// ttl is the lifetime of the tokens. Renewals are due before half of it has passed.
const (
	ttl     = 12 * time.Second
	callers = 20
)

func (p *proxy) hold() *calls.Calls {
	p.t.Helper()
	return calls.Hold(p.t, calls.Config{
		Count: callers, TTL: ttl, URL: p.url("wss", "/v1/ws"),
		Transport: func(func(*nodetest.Node)) *http.Transport { return p.transport("127.0.0.2") },
	})
}

// Calls continue through a proxy while the proxy is reloaded, a node is replaced as in a deployment, and a node is
// killed. No call is without valid tokens at any time.
func TestCalls(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		redis := redistest.Start(t)
		nodes := nodetest.StartFleet(t, 2, "--redis-url="+redis.URL())
		p := start(t, k, nodes)
		held := p.hold()
		const name = `refresher_sessions{state="attached"}`
		if a, b := nodes[0].Metric(name), nodes[1].Metric(name); a+b != callers || a < callers/4 || b < callers/4 {
			t.Errorf("the nodes have %v and %v calls; want %d, about half each", a, b, callers)
		}

		mark := held.Mark()
		for range 2 {
			again := held.Mark()
			p.reloaded()
			held.AwaitRenewals(again, 1)
		}
		reconnected := 0
		for i, now := range held.Mark() {
			if now.Connected != mark[i].Connected {
				reconnected++
			}
		}
		// Caddy 2.6 closes WebSockets when it reloads its file; see docs/operate/proxies.md.
		if reconnected > 0 && k != &caddy {
			t.Errorf("%d calls had to connect again when the proxy was reloaded; want none", reconnected)
		}
		t.Logf("reloaded twice: %d of %d calls connected again", reconnected, callers)

		// The proxy may choose a draining node for a new call, since that node has the fewest connections. The node
		// tells the call to connect elsewhere.
		dials, from := p.dials.Load(), p.log.Len()
		nodes[0].Stop()
		held.AwaitRenewals(held.Mark(), 1) // when each call has been renewed once more, all of them are on the other node
		dials = p.dials.Load() - dials
		if b := nodes[1].Metric(name); b != callers {
			t.Errorf("the node that is left has %v calls; want %d", b, callers)
		}
		t.Logf("a node with half of %d calls drained: they connected %d times", callers, dials)
		p.awaitNode(from, k.down)
		from = p.log.Len()
		nodes[0].Start()
		p.awaitNode(from, k.up)

		// The other node has all calls, and dies. The restarted node takes them over at once.
		mark = held.Mark()
		nodes[1].Kill()
		held.AwaitReturn(mark, nil) // nil: behind a proxy, a call does not know its node
		if a := nodes[0].Metric(name); a != callers {
			t.Errorf("the node that is left has %v calls; want %d", a, callers)
		}

		t.Log(held.Verdict(4))
		nodes[0].Stop()
		for _, n := range nodes {
			for _, line := range n.Errors() {
				t.Errorf("%s logged: %s", n.Name(), line)
			}
		}
	})
}

// A node that HAProxy drains keeps its calls and gets no new ones. When the node is stopped,
// each of its calls reconnects exactly once.
func TestDrainFirst(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := nodetest.StartFleet(t, 2, "--redis-url="+redis.URL())
	p := start(t, &haproxy, nodes)
	held := p.hold()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "set server nodes/a state drain\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || strings.TrimSpace(string(answer)) != "" {
		t.Fatalf("haproxy answers %q, %v", answer, err)
	}
	moving := int64(nodes[0].Metric(`refresher_sessions{state="attached"}`))
	if moving == 0 || moving == callers {
		t.Fatalf("the node to be stopped has %d of %d calls", moving, callers)
	}
	mark, dials := held.Mark(), p.dials.Load()
	nodes[0].Stop()
	held.AwaitRenewals(mark, 1)
	if dials = p.dials.Load() - dials; dials != moving {
		t.Errorf("%d calls connected %d times; want once each", moving, dials)
	}
	t.Log(held.Verdict(1))
}

// An idle call sends only heartbeats between its renewals. It must survive if the proxy's time-out is longer than the
// interval of heartbeats. Both are scaled down: the heartbeat from 50 s to 1 s, and the time-out from the 150 s of the
// shipped proxy files to 3 s.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 1, "--heartbeat=1s")
		timeout := []string{"150s", "3s"}
		if k == &caddy { // Caddy has no time-out for silent WebSockets: its idle time-out is only for HTTP
			timeout = []string{"idle 30s", "idle 2s"}
		}
		held := start(t, k, nodes, timeout...).hold()
		mark := held.Mark()
		held.AwaitRenewals(mark, 2)
		for i, now := range held.Mark() {
			if now.Connected != mark[i].Connected {
				t.Errorf("call %d lost its connection: %v", i, now.LastLoss)
			}
		}
	})
}
