package origin

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether a host name or an address, without a port, means this machine.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// AddressesLoopback reports whether the value of a Host header is empty or a loopback name of this machine. A web page
// that reaches this machine by DNS rebinding sends its own host name instead. No browser sends an empty Host; some
// load balancers do, for checks over HTTP/1.0.
func AddressesLoopback(host string) bool {
	if host == "" {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil { // no port
		name = strings.Trim(host, "[]")
	}
	return IsLoopback(name)
}
