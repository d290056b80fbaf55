package redistest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// loopback is the one address that anything here listens on.
const loopback = "127.0.0.1"

// Ports are drawn below those that the system hands out by itself (32768 and up
// on Linux). A server that is killed wants its port back; with one of the
// system's, any connection or listener of another test could have it by then.
// Half of the range is for servers, the other for their cluster buses.
const (
	firstPort = 10_000
	busOffset = 10_000 // Redis's own: a node's bus is so far above its port
)

// freePort returns a port that is free at the moment, and whose cluster bus is.
// Somebody else may still be faster, so whoever binds it must be ready to try
// another.
func freePort(t testing.TB) int {
	t.Helper()
	const tries = 1000
	for range tries {
		port := firstPort + rand.IntN(busOffset) //nolint:gosec // to avoid others, not to be unpredictable.
		if isFree(t, port) && isFree(t, port+busOffset) {
			return port
		}
	}
	t.Fatalf("redistest: none of %d ports between %d and %d is free", tries, firstPort, firstPort+busOffset)
	return 0
}

func isFree(t testing.TB, port int) bool {
	listener, err := listen(t, address(port))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

func listen(t testing.TB, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(lasting(t), "tcp", addr)
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
