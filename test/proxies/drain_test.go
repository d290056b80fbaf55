//go:build programs

package proxies

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
	"refresher/test/program"
	"refresher/test/redistest"
)

// A node that HAProxy drains keeps its calls and gets no new ones. When the node is stopped,
// each of its calls reconnects exactly once.
func TestDrainFirst(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := nodetest.StartFleet(t, 2, "--redis-url="+redis.URL())
	p := start(t, &haproxy, nodes)
	held := calls.Hold(t, calls.Config{
		Count: callers, TTL: ttl, URL: p.url("wss", "/v1/ws"),
		Transport: func(func(*nodetest.Node)) *http.Transport { return p.transport("127.0.0.2") },
	})
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

// The file has lines for a readiness check in a comment. They are valid in place of those for
// /ping.
func TestReadinessCheckIsValid(t *testing.T) {
	t.Parallel()
	p := prepare(
		t, &haproxy, program.Address(t), program.Address(t),
		"    http-check send meth GET uri /ping ver HTTP/1.1 hdr Host localhost\n", "",
		"    default-server check inter 2s fall 2 rise 2\n", "",
		"    #   http-check send meth GET uri / ", "    http-check send meth GET uri / ",
		"    #   default-server check inter 2s fall 1", "    default-server check inter 2s fall 1",
	)
	check := haproxy.check(p)
	p.run(check[0], check[1:]...)
}
