package redistest

import (
	"net"
	"testing"

	"refresher/test/program"
)

// loopback is the one address that anything here listens on.
const loopback = program.Loopback

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
	return program.PortIn(t, firstPort, firstPort+busOffset, func(t testing.TB, port int) bool {
		return program.Free(t, port) && program.Free(t, port+busOffset)
	})
}

func listen(t testing.TB, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(lasting(t), "tcp", addr)
}

func address(port int) string { return program.At(port) }
