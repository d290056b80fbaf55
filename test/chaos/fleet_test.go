package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"testing"
)

// serviceURL is where the calls find the service. The name is never looked up:
// each connection goes where the fleet sends it. With --auth=none a node takes
// requests that are addressed to its own machine only.
const serviceURL = "ws://localhost/v1/ws"

// fleet is nodes behind a load balancer.
type fleet []*node

// startFleet runs some nodes with the same flags.
func startFleet(t *testing.T, nodes int, flags ...string) fleet {
	t.Helper()
	var f fleet
	for i := range nodes {
		n := newNode(t, "node "+strconv.Itoa(i), flags...)
		n.start()
		f = append(f, n)
	}
	return f
}

// transport connects to any node that takes the connection, and reports which it
// was.
func (f fleet) transport(reached func(*node)) *http.Transport {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		failed := []error{errors.New("no node takes connections")}
		for _, i := range rand.Perm(len(f)) {
			if f[i].paused.Load() {
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

// await waits until every node of the fleet has logged a message since its mark.
func (f fleet) await(message string) {
	for _, n := range f {
		n.t.Helper()
		n.await(1, message)
	}
}

// marked has await look at what is logged from now on.
func (f fleet) marked() {
	for _, n := range f {
		n.mark = n.log.len()
	}
}

// sum adds up a metric of all nodes.
func (f fleet) sum(metric string) float64 {
	var sum float64
	for _, n := range f {
		n.t.Helper()
		sum += n.metric(metric)
	}
	return sum
}
