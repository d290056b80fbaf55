package limit

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newProxies(t *testing.T, cidrs ...string) Proxies {
	t.Helper()
	p, err := NewProxies(cidrs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewProxies(t *testing.T) {
	for _, s := range []string{
		"10.0.0.0/8", "10.1.2.3/8", "10.0.0.7", " 10.0.0.7 ", "fd00::/8", "::1", "::ffff:10.0.0.7", "::ffff:10.0.0.0/104", "unix",
	} {
		if _, err := NewProxies([]string{s}); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "proxy.example.com", "10.0.0", "10.0.0.0/33", "10.0.0.7:80", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "::ffff:0:0/90", "*"} {
		if _, err := NewProxies([]string{"10.0.0.1", s}); err == nil || !strings.Contains(err.Error(), "trusted proxy") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestClientAddr(t *testing.T) {
	trusted := newProxies(t, "10.0.0.0/8", "::ffff:172.16.0.0/108", "::ffff:172.32.0.1", "unix")
	const proxy = "10.0.0.1:443"
	for _, c := range []struct {
		name   string
		remote string
		header http.Header
		want   string // empty for the zero Addr
	}{
		{"no proxy", "192.0.2.1:99", nil, "192.0.2.1"},
		{"mapped", "[::ffff:192.0.2.1]:99", nil, "192.0.2.1"},
		{"zone", "[fe80::1%eth0]:99", nil, "fe80::1"},
		{"untrusted peer", "192.0.2.1:99", xff("198.51.100.7"), "192.0.2.1"},

		{"one proxy", proxy, xff("192.0.2.1"), "192.0.2.1"},
		{"mapped block", "172.17.0.1:99", xff("192.0.2.1"), "192.0.2.1"},
		{"mapped address", "172.32.0.1:99", xff("192.0.2.1"), "192.0.2.1"},
		{"spoofed other header", proxy, http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Forwarded": {"for=198.51.100.7"}}, "192.0.2.1"},
		{"two proxies", proxy, xff("192.0.2.1, 10.0.0.2"), "192.0.2.1"},
		{"only proxies", proxy, xff("10.0.0.3, 10.0.0.2"), "10.0.0.3"},
		{"a proxy alone", proxy, nil, "10.0.0.1"},

		{"with ports", proxy, xff("192.0.2.1:5000, 10.0.0.2:80"), "192.0.2.1"},
		{"brackets and port", proxy, xff("[2001:db8::1]:5000"), "2001:db8::1"},
		{"zone in a header", proxy, xff("fe80::1%spoof"), "fe80::1"},

		{"malformed", proxy, xff("unknown"), "10.0.0.1"},
		{"malformed at the second hop", proxy, xff("192.0.2.1, x, 10.0.0.2"), "10.0.0.2"},
		{"empty", proxy, xff(""), "10.0.0.1"},
		{"empty hides no Forwarded", proxy, http.Header{"X-Forwarded-For": {""}, "Forwarded": {"for=198.51.100.7"}}, "10.0.0.1"},
		{"leading zeros", proxy, xff("192.0.2.01"), "10.0.0.1"},
		{"port beyond", proxy, xff("192.0.2.1:99999"), "10.0.0.1"},

		{"Forwarded, all of it", proxy, fwd(`proto=https; For="192.0.2.1:80" ;by=10.0.0.1;host="a,b;for=c"`), "192.0.2.1"},
		{"Forwarded, open quote before a quoted one", proxy, fwd(`for=198.51.100.7;x=", for="[2001:db8::1]"`), "2001:db8::1"},
		{"Forwarded, backslash before", proxy, fwd(`for=198.51.100.7;x="\, for="[2001:db8::1]"`), "2001:db8::1"},
		{"Forwarded, hidden", proxy, fwd(`for=192.0.2.1, for=_hidden, for=10.0.0.2`), "10.0.0.2"},
		{"Forwarded, none", proxy, fwd(`proto=https`), "10.0.0.1"},
		{"Forwarded, twice", proxy, fwd(`for=192.0.2.1;for=198.51.100.7`), "10.0.0.1"},
		{"Forwarded, escape", proxy, fwd(`for=192.0.2.1;host="\""`), "10.0.0.1"},
		{"Forwarded, quote never closed", proxy, fwd(`for=192.0.2.1;host="a`), "10.0.0.1"},

		{"unix", "@", xff("192.0.2.1"), "192.0.2.1"},
		{"unix, no name", "", xff("198.51.100.7, 192.0.2.1, 10.0.0.2"), "192.0.2.1"},
		{"unix, path", "/run/proxy.sock", fwd("for=192.0.2.1"), "192.0.2.1"},
		{"unix, nobody named", "@", nil, ""},
		{"no address at all", "pipe", xff("192.0.2.1"), ""},
	} {
		want, _ := netip.ParseAddr(c.want)
		if got := trusted.ClientAddr(&http.Request{RemoteAddr: c.remote, Header: c.header}); got != want {
			t.Errorf("%s: got %v, want %v", c.name, got, want)
		}
	}
	if got := newProxies(t, "10.0.0.0/8").ClientAddr(&http.Request{RemoteAddr: "@", Header: xff("192.0.2.1")}); got.IsValid() {
		t.Errorf("Unix sockets are not trusted, but %v was taken from one", got)
	}
}

func xff(lines ...string) http.Header { return http.Header{"X-Forwarded-For": lines} }

func fwd(lines ...string) http.Header { return http.Header{"Forwarded": lines} }

// A client writes random text into the forwarding headers, and trusted proxies append to them in various ways. ClientAddr
// always returns the client's own address.
func TestSpoofing(t *testing.T) {
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	trusted := newProxies(t, "10.0.0.0/8", "fd00::/8")
	clients := []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1"), addr("198.51.100.7")}
	hops := []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2"), addr("fd00::3")}
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"192.0.2.1", "198.51.100.7", "203.0.113.9", "10.0.0.1", "10.0.0.2", "[fd00::3]:80", "2001:db8::9", "127.0.0.1", "::1",
			"for=", "For=", `for="`, `"`, `\`, `\"`, ",", ", ", ";", "=", "unknown", "_x", "[", "]", ":", "%", " ", "\t", "@",
		}),
		rapid.StringN(0, 5, 10),
	)
	line := rapid.Map(rapid.SliceOfN(piece, 0, 12), func(s []string) string { return strings.Join(s, "") })
	lines := rapid.SliceOfN(line, 0, 4)

	rapid.Check(t, func(t *rapid.T) {
		header := http.Header{}
		for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip"} {
			if claimed := lines.Draw(t, name); len(claimed) > 0 {
				header[name] = claimed
			}
		}
		style, write := "X-Forwarded-For", func(a netip.Addr) string { return a.String() }
		if rapid.Bool().Draw(t, "proxies write Forwarded") {
			style, write = "Forwarded", forwardedElement
		}
		client := rapid.SampledFrom(clients).Draw(t, "client")
		from := client
		for _, hop := range rapid.SliceOfN(rapid.SampledFrom(hops), 0, 4).Draw(t, "proxies") {
			if style == "Forwarded" {
				delete(header, "X-Forwarded-For")
			}
			had := header[style]
			if len(had) == 0 || rapid.Bool().Draw(t, "new line") {
				header[style] = append(had, write(from))
			} else {
				had[len(had)-1] += ", " + write(from)
			}
			from = hop
		}
		remote := netip.AddrPortFrom(from, 4711).String()
		if got := trusted.ClientAddr(&http.Request{RemoteAddr: remote, Header: header}); got != client {
			t.Fatalf("%v is seen as %v, by %q", client, got, header)
		}
	})
}

func forwardedElement(a netip.Addr) string {
	if a.Is6() {
		return `for="[` + a.String() + `]";proto=https`
	}
	return "proto=https;for=" + a.String()
}
