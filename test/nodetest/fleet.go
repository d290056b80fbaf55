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

// Fleet is nodes behind a load balancer.
type Fleet []*Node

// StartFleet runs some nodes with the same flags: "node 0", "node 1" and so on.
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

// Transport connects to any node that takes the connection, whatever address is
// asked for, and reports which it was. It is for any goroutine.
func (f Fleet) Transport(reached func(*Node)) *http.Transport {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		failed := []error{errors.New("no node takes connections")}
		for _, i := range rand.Perm(len(f)) { //nolint:gosec // to spread the calls, not to be unpredictable.
			if f[i].Paused() {
				continue // the system would take it, and the call wait for an answer
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

// Await waits until every node has logged a message since its mark.
func (f Fleet) Await(message string) {
	for _, n := range f {
		n.t.Helper()
		n.Await(1, message)
	}
}

// Mark has Await look at what is logged from now on.
func (f Fleet) Mark() {
	for _, n := range f {
		n.Mark()
	}
}

// Sum adds up a metric of all nodes.
func (f Fleet) Sum(metric string) float64 {
	var sum float64
	for _, n := range f {
		n.t.Helper()
		sum += n.Metric(metric)
	}
	return sum
}
