package program

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Loopback is the one address that programs of tests listen on.
const Loopback = "127.0.0.1"

// Ports are drawn from below those that the system hands out by itself (32768
// and up on Linux), and above those of redistest and of its cluster buses: a
// program that is started again wants its port back, and nothing else must have
// it by then.
const (
	firstPort = 30_000
	endPort   = 32_768
)

// Address is Loopback with a Port.
func Address(t testing.TB) string {
	t.Helper()
	return At(Port(t))
}

// Port is one that is free at the moment. Somebody else may still be faster.
func Port(t testing.TB) int {
	t.Helper()
	return PortIn(t, firstPort, endPort, Free)
}

// PortIn is a port of a range, without its end, that suits.
func PortIn(t testing.TB, first, end int, suits func(testing.TB, int) bool) int {
	t.Helper()
	const tries = 1000
	for range tries {
		port := first + rand.IntN(end-first) //nolint:gosec // to avoid others, not to be unpredictable.
		if suits(t, port) {
			return port
		}
	}
	t.Fatalf("none of %d ports between %d and %d is free", tries, first, end)
	return 0
}

// Free tells whether a port can be listened on.
func Free(t testing.TB, port int) bool {
	listener, err := new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", At(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// At is a port of Loopback, as host:port.
func At(port int) string { return net.JoinHostPort(Loopback, strconv.Itoa(port)) }
