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
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if a := prefix.Addr(); a.Is4In6() {
		return a.Unmap().Prefix(prefix.Bits() - 96)
	}
	return prefix.Masked(), nil
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
	lines, next := r.Header["X-Forwarded-For"], lastForwardedFor
	if len(lines) == 0 {
		lines, next = r.Header["Forwarded"], lastForwarded
	}
	for _, line := range slices.Backward(lines) {
		for rest, more := line, true; more; {
			if !trusted {
				return client
			}
			var hop netip.Addr
			hop, rest, more = next(rest)
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
	for _, prefix := range p.trusted {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// lastForwardedFor takes the last entry off a line of X-Forwarded-For. The
// address is zero if that entry is none.
func lastForwardedFor(line string) (hop netip.Addr, rest string, more bool) {
	entry := line
	if i := strings.LastIndexByte(line, ','); i >= 0 {
		entry, rest, more = line[i+1:], line[:i], true
	}
	return parseHop(strings.Trim(entry, " \t")), rest, more
}

// lastForwarded takes the last element off a line of Forwarded, such as
//
//	for=192.0.2.60;proto=https, For="[2001:db8::17]:4711"
//
// From the right, so that no open quote in what the client wrote can swallow
// what a proxy added. Escapes in quotes can only be read from the left: an
// element that has one is not understood.
func lastForwarded(line string) (hop netip.Addr, rest string, more bool) {
	quoted := false
	at := len(line) - 1
	for ; at >= 0 && (quoted || line[at] != ','); at-- {
		switch line[at] {
		case '\\':
			return netip.Addr{}, "", false
		case '"':
			quoted = !quoted
		}
	}
	if quoted {
		return netip.Addr{}, "", false
	}
	if at >= 0 {
		rest, more = line[:at], true
	}
	return forwardedFor(line[at+1:]), rest, more
}

// forwardedFor reads the for parameter of one element, in which quotes are
// balanced and hold no escapes. It is zero unless there is exactly one.
func forwardedFor(element string) netip.Addr {
	var node string
	found := false
	for element != "" {
		var pair string
		pair, element = cutUnquoted(element)
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if found {
			return netip.Addr{}
		}
		node, found = value, true
	}
	if bare, ok := strings.CutPrefix(node, `"`); ok {
		node = strings.TrimSuffix(bare, `"`)
	}
	return parseHop(node)
}

// cutUnquoted splits at the first semicolon outside quotes.
func cutUnquoted(s string) (before, after string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// parseHop reads an address with or without a port; IPv6 in brackets or, without
// a port, bare. It is zero for anything else.
func parseHop(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if bare, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(bare, "]") {
			a, err = netip.ParseAddr(strings.TrimSuffix(bare, "]"))
			if !a.Is6() {
				return netip.Addr{}
			}
		} else {
			var port netip.AddrPort
			port, err = netip.ParseAddrPort(s)
			a = port.Addr()
		}
	}
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
