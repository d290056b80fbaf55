package program

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Loopback is the address on which all programs of the tests listen.
const Loopback = "127.0.0.1"

// These constants are the range of Port. It is below the ports that Linux assigns by itself, 32768 and up, and above
// the ports of package redistest and of its cluster buses. So no other program takes the port of a program that is
// restarted and needs its old port again.
const (
	firstPort = 30_000
	endPort   = 32_768
)

// Address returns Loopback with a free port.
func Address(t testing.TB) string {
	t.Helper()
	return At(Port(t))
}

// Port returns a port that is free at the moment. Another program may still take it first.
func Port(t testing.TB) int {
	t.Helper()
	return PortIn(t, firstPort, endPort, Free)
}

// PortIn returns a port for which the function `suits` returns true. It is at least `first` and less than `end`.
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

// Free reports whether a program can listen on the port.
func Free(t testing.TB, port int) bool {
	listener, err := new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", At(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// At returns the address of a port of Loopback, as host:port.
func At(port int) string { return net.JoinHostPort(Loopback, strconv.Itoa(port)) }
