package nodetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"testing"
)

// Fleet is a group of nodes behind a simulated load balancer.
type Fleet []*Node

// StartFleet starts nodes with the same flags, named "node 0", "node 1" and so on.
func StartFleet(t testing.TB, nodes int, flags ...string) Fleet {
	t.Helper()
	var f Fleet
	for i := range nodes {
		n := New(t, "node "+strconv.Itoa(i), flags...)
		n.Start()
		f = append(f, n)
	}
	return f
}

// Transport returns a transport that connects to any node that accepts the connection, whatever address the request
// has. It calls the function `reached` with that node. Any goroutine may use the transport.
func (f Fleet) Transport(reached func(*Node)) *http.Transport {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		failed := []error{errors.New("no node takes connections")}
		for _, i := range rand.Perm(len(f)) { //nolint:gosec // to spread the calls, not to be unpredictable.
			if f[i].Paused() {
				continue // skipped: the system would accept a connection for the paused process, and the call would wait for an answer
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, f[i].address)
			if err == nil {
				reached(f[i])
				return conn, nil
			}
			failed = append(failed, err)
		}
		return nil, errors.Join(failed...)
	}
	return &http.Transport{DialContext: dial, DisableKeepAlives: true}
}

// Await waits until every node has logged the message since its mark.
func (f Fleet) Await(message string) {
	for _, n := range f {
		n.t.Helper()
		n.Await(1, message)
	}
}

// Mark makes Await ignore the log lines so far.
func (f Fleet) Mark() {
	for _, n := range f {
		n.Mark()
	}
}

// Sum adds up a metric over all nodes.
func (f Fleet) Sum(metric string) float64 {
	var sum float64
	for _, n := range f {
		n.t.Helper()
		sum += n.Metric(metric)
	}
	return sum
}
