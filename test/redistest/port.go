package redistest

import (
	"net"
	"testing"

	"refresher/test/program"
)

const loopback = program.Loopback

// These constants are the range of freePort. It is below the ports that Linux assigns by itself, 32768 and up: in that
// range a connection or a listener of another test could take the port of a killed server, which needs its port again.
// Half of the range is for servers, the other half for their cluster buses.
const (
	firstPort = 10_000
	busOffset = 10_000 // the distance of a node's cluster bus port from its port, which Redis defines
)

// freePort returns a port that is free at the moment, and whose cluster bus port is free, too. Another program may
// still take the port first, so the caller must be ready to try again.
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
