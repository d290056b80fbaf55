package origin

import (
	"net"
	"net/netip"
	"strings"
)

// IsLoopback reports whether host, a name or an address without a port, means this machine.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// AddressesLoopback reports whether host, the value of a Host header, is a loopback name of this machine or
// empty. A web page whose host name was made to resolve to a loopback address sends that name. Only clients
// other than browsers send none, such as the HTTP/1.0 checks of load balancers.
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
