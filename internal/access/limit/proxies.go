package limit

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// unixPeers stands, in a list of proxies, for every peer that connects over a Unix socket.
const unixPeers = "unix"

// Proxies is the set of trusted proxies: peers whose forwarding headers are believed. The zero
// value trusts no peer. A Proxies is immutable.
type Proxies struct {
	trusted []netip.Prefix
	unix    bool
}

// NewProxies parses a list of addresses ("10.0.0.7"), networks ("10.0.0.0/8", "fd00::/8"), and
// the word "unix" for peers on a Unix socket.
func NewProxies(cidrs []string) (Proxies, error) {
	var p Proxies
	for _, s := range cidrs {
		s = strings.TrimSpace(s)
		if s == unixPeers {
			p.unix = true
			continue
		}
		prefix, err := parsePrefix(s)
		if err != nil {
			return Proxies{}, fmt.Errorf(`trusted proxy %q: want an address, a block such as "10.0.0.0/8", or "unix"`, s)
		}
		if prefix.Bits() == 0 {
			return Proxies{}, fmt.Errorf("trusted proxy %q: matches every address, so any client could claim the address of another; want the addresses of your proxies", s)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// parsePrefix parses a network or a single address. It converts IPv4 mapped into IPv6 to IPv4.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = plain(a)
		return a.Prefix(a.BitLen())
	}
	prefix, err := netip.ParsePrefix(s)
	if a := prefix.Addr(); a.Is4In6() {
		return a.Unmap().Prefix(prefix.Bits() - 96)
	}
	return prefix.Masked(), err
}

// ClientAddr returns the client's address. Unless the peer is a trusted proxy, that is the peer's address. Otherwise it
// is the right-most entry of X-Forwarded-For that is not a trusted proxy. If the request has no X-Forwarded-For, the
// header Forwarded (RFC 7239) is read instead. An entry that is not an address ends the search, and the trusted proxy
// that wrote it counts as the client. The result has no zone and is never IPv4 mapped into IPv6. A peer on a Unix
// socket has the zero Addr if it is not trusted, or if it sent no forwarding header.
func (p Proxies) ClientAddr(r *http.Request) netip.Addr {
	client, trusted := p.peer(r.RemoteAddr)
	lines, parse := r.Header["X-Forwarded-For"], parseHop
	if len(lines) == 0 {
		lines, parse = r.Header["Forwarded"], forwardedFor
	}
	for _, line := range slices.Backward(lines) {
		for rest, more := line, true; more && trusted; {
			var entry string
			rest, entry, more = cutLast(rest, ',')
			hop := parse(strings.Trim(entry, " \t"))
			if !hop.IsValid() {
				return client
			}
			client, trusted = hop, p.trusts(hop)
		}
	}
	return client
}

// Trusts reports whether the peer at an address of package net is a trusted proxy.
func (p Proxies) Trusts(peer net.Addr) bool {
	_, trusted := p.peer(peer.String())
	return trusted
}

// peer parses a request's RemoteAddr, and reports whether that peer is a trusted proxy.
func (p Proxies) peer(remote string) (addr netip.Addr, trusted bool) {
	if a := parseHop(remote); a.IsValid() {
		return a, p.trusts(a)
	}
	// On a Unix socket, package net gives the peer an empty address, "@", "@name", or a path.
	unix := remote == "" || remote[0] == '@' || remote[0] == '/'
	return netip.Addr{}, unix && p.unix
}

func (p Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// cutLast splits s at the last separator that is not in quotes. It scans from the right, so that
// an open quote in the client's part cannot hide the part that a proxy appended. A scan from
// the right cannot interpret escapes in quotes. So if the last part has a backslash, the result `last` is empty.
func cutLast(s string, separator byte) (rest, last string, more bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch c := s[i]; {
		case c == '\\':
			return "", "", false
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	if quoted {
		return "", "", false
	}
	return "", s, false
}

// forwardedFor parses the parameter "for" of one element of a Forwarded header, such as
//
//	for=192.0.2.60;proto=https
//	For="[2001:db8::17]:4711"
//
// It returns the zero Addr unless there is exactly one such parameter with an address.
func forwardedFor(element string) netip.Addr {
	node, found := "", 0
	for rest, more := element, true; more; {
		var pair string
		rest, pair, more = cutLast(rest, ';')
		if name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "="); strings.EqualFold(name, "for") {
			node = value
			found++
		}
	}
	if found != 1 {
		return netip.Addr{}
	}
	if bare, quoted := strings.CutPrefix(node, `"`); quoted {
		node = strings.TrimSuffix(bare, `"`)
	}
	return parseHop(node)
}

// parseHop parses an address with or without a port. An IPv6 address with a port must be in
// brackets. It returns the zero Addr for anything else.
func parseHop(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if strings.HasSuffix(s, "]") {
			s += ":0"
		}
		port, _ := netip.ParseAddrPort(s) // the zero AddrPort if s is invalid
		a = port.Addr()
	}
	return plain(a)
}

// plain removes an address's zone, and converts IPv4 mapped into IPv6 to IPv4.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
