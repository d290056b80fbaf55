package redistest

import (
	"net"
	"testing"

	"refresher/test/program"
)

const loopback = program.Loopback

// These constants are the range of the function freePort. It is below the ports that the system assigns by itself
// (32768 and up on Linux). A server that was killed needs its port again; a port of the system's range could be taken
// by a connection or a listener of another test meanwhile. Half of the range is for servers, the other half for their
// cluster buses.
const (
	firstPort = 10_000
	busOffset = 10_000 // set by Redis: the distance of a node's cluster bus port from its port
)

// freePort returns a port that is free at the moment, like its cluster bus port. Another
// program may still take it first, so the caller must be ready to try again.
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
