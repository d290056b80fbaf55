package limit

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// unixPeers stands for whoever connects over a Unix socket in a list of
// proxies.
const unixPeers = "unix"

// Proxies are the peers whose word on a client's address is believed. The zero
// value believes nobody. It is immutable.
type Proxies struct {
	trusted []netip.Prefix
	unix    bool
}

// NewProxies reads addresses ("10.0.0.7"), blocks of them ("10.0.0.0/8",
// "fd00::/8"), and the word "unix" for peers on a Unix socket.
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
			return Proxies{}, fmt.Errorf("trusted proxy %q: is everybody, so that any client could pass for any other; want the proxies' own addresses", s)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// parsePrefix reads a block or a single address, and takes IPv4 out of IPv6.
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

// ClientAddr is the address that a request came from: that of the peer, or if
// this is a trusted proxy, the right-most one in X-Forwarded-For that is not
// one; in Forwarded (RFC 7239) if there is no X-Forwarded-For. An entry that is
// no address ends the search, and the trusted proxy that wrote it counts as
// the client. The answer is never IPv4 mapped into IPv6 and has no zone. It is
// the zero Addr for a peer on a Unix socket that is not trusted, or that named
// nobody.
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

// Trusts reports whether the peer at an address, as package net gives it, is one of
// them.
func (p Proxies) Trusts(peer net.Addr) bool {
	_, trusted := p.peer(peer.String())
	return trusted
}

// peer reads a request's RemoteAddr.
func (p Proxies) peer(remote string) (addr netip.Addr, trusted bool) {
	if a := parseHop(remote); a.IsValid() {
		return a, p.trusts(a)
	}
	// What package net calls the other end of a Unix socket: nothing, @ and a
	// name or none, or a path.
	unix := remote == "" || remote[0] == '@' || remote[0] == '/'
	return netip.Addr{}, unix && p.unix
}

func (p Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// cutLast splits s at the last separator that is not in quotes. It looks from the right, so
// that no open quote in what the client wrote can swallow what a proxy added. Escapes in quotes
// can only be read from the left: what follows the separator is empty if it has one.
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

// forwardedFor reads the parameter for of one element of Forwarded, such as
//
//	for=192.0.2.60;proto=https
//	For="[2001:db8::17]:4711"
//
// It is zero unless there is exactly one.
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

// parseHop reads an address with or without a port; IPv6 in brackets or, without
// a port, bare. It is zero for anything else.
func parseHop(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if strings.HasSuffix(s, "]") {
			s += ":0"
		}
		port, _ := netip.ParseAddrPort(s) // else zero
		a = port.Addr()
	}
	return plain(a)
}

// plain is an address neither mapped into IPv6 nor with a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
