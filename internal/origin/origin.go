// Package origin decides which web pages may talk to the service: one rule for
// WebSocket handshakes and CORS alike. It knows nothing else.
package origin

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// Policy is a set of allowed origins. The zero value allows the service's own
// origin only. It is immutable.
type Policy struct {
	any      bool
	patterns []string // lower case; with or without a scheme
}

// NewPolicy reads patterns: "https://app.example.com", "app.example.com" for
// either scheme, "*.example.com" for any one subdomain, and "*" for every page.
func NewPolicy(patterns []string) (Policy, error) {
	var p Policy
	for _, s := range patterns {
		s = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "/"))
		host := s
		if scheme, rest, ok := strings.Cut(s, "://"); ok {
			if scheme != "http" && scheme != "https" {
				return Policy{}, fmt.Errorf("allowed origin %q: want http:// or https://", s)
			}
			host = rest
		}
		switch {
		case s == "*":
			p.any = true
		case host == "" || strings.ContainsAny(host, "/?#@[\\"):
			return Policy{}, fmt.Errorf(`allowed origin %q: want a form like "https://app.example.com", "*.example.com" or "*"`, s)
		default:
			p.patterns = append(p.patterns, s)
		}
	}
	return p, nil
}

// Allows reports whether a page from origin, the value of an Origin header,
// may talk to this service, which was addressed as host. An empty origin is
// not a page: browsers always send one.
func (p Policy) Allows(origin, host string) bool {
	if origin == "" || p.any {
		return true
	}
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" {
		return false // among others "null", of pages without an origin
	}
	if strings.EqualFold(u.Host, host) {
		return true
	}
	for _, pattern := range p.patterns {
		target := u.Host
		if strings.Contains(pattern, "://") {
			target = u.Scheme + "://" + u.Host
		}
		if matches(pattern, target) {
			return true
		}
	}
	return false
}

// IsLoopback reports whether host, a name or an address without a port, is this
// machine to itself.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// AddressesLoopback reports whether host, the value of a Host header, is one of
// this machine's names to itself. A web page whose host name was made to
// resolve to a loopback address sends that name.
func AddressesLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil { // no port
		name = strings.Trim(host, "[]")
	}
	return IsLoopback(name)
}

// matches compares label by label, so that a star stands for exactly one.
func matches(pattern, target string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(target, ".", "/"))
	return err == nil && ok
}
