package listen_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// startProxied runs a node that trusts the PROXY headers of the given proxies, and admits one request per
// client address. The node's method Connect sends a PROXY header.
func startProxied(t *testing.T, secured bool, proxies ...string) *apptest.LoggedNode {
	t.Helper()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			write(t, c, "PROXY TCP4 192.0.2.77 192.0.2.200 5000 443\r\n")
		}
		return c, err
	}
	return apptest.StartLoggedNode(t, func(c *app.Config) {
		if secured {
			withTLS(t)(c)
			c.Auth = "none"
		}
		c.ProxyProtocol, c.TrustedProxies, c.AddressRate = true, proxies, 0.0001
	}, app.Outside{}, dial)
}

// say opens a connection, and sends a PROXY header and a request with one more header. It returns the status of the
// answer, or 0 if there was no answer.
func say(g *apptest.LoggedNode, proxyHeader, header string, secured bool) int {
	g.T.Helper()
	c, err := new(net.Dialer).DialContext(g.T.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		g.T.Fatal(err)
	}
	defer c.Close()
	write(g.T, c, proxyHeader)
	if secured {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	_, _ = io.WriteString(c, "GET /rtm/ana HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+header+"\r\n")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// The client's address is the one in the PROXY header of a trusted proxy. If that address is itself a trusted
// proxy, its forwarding headers count as well.
func TestProxyProtocol(t *testing.T) {
	for _, secured := range []bool{false, true} {
		g := startProxied(t, secured, "127.0.0.1", "10.0.0.0/8")
		for _, c := range []struct {
			name, header, forwarded string
			want                    int
		}{
			{"a client", "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "", 200},
			{"the same", "PROXY TCP4 192.0.2.1 192.0.2.200 5001 443\r\n", "", 429},
			{"a client that claims to be another", "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.9\r\n", 429},
			{"behind a second proxy", "PROXY TCP4 10.0.0.7 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.4\r\n", 200},
			{"the same, behind it", "PROXY TCP4 10.0.0.7 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.4\r\n", 429},
			{"another", "PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n", "", 200},
			{"the proxy for itself", "PROXY UNKNOWN\r\n", "", 200},
			{"again", "PROXY UNKNOWN\r\n", "", 429},
			{"no header", "", "X-Forwarded-For: 192.0.2.6\r\n", 0},
		} {
			if got := say(g, c.header, c.forwarded, secured); got != c.want {
				t.Errorf("%s, TLS %t: %d, want %d", c.name, secured, got, c.want)
			}
		}
		g.Log.Await("no valid PROXY header from a trusted proxy")
		if !secured {
			s := g.Connect()
			s.Send(apptest.JoinText)
			s.Expect(protocol.TypeJoined)
		}
	}
}

// A malformed header is logged, because the proxy's clients get no answer. A load balancer that checks the port by
// connecting to it is not logged, and neither is a request with a header.
func TestProxyProtocolMalformed(t *testing.T) {
	g := startProxied(t, false, "127.0.0.1")
	if got := say(g, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "", false); got != 200 {
		t.Errorf("with a header: %d", got)
	}
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c) // waits until the node closes the connection
	_ = c.Close()
	for range 2 {
		if got := say(g, "PROXY TCP4 192.0.2.7\r\n", "", false); got != 0 {
			t.Errorf("answered %d", got)
		}
	}
	g.Stop()
	log := g.Log.Take()
	if strings.Count(log, "no valid PROXY header from a trusted proxy") != 1 || !strings.Contains(log, "error=\"proxyproto: ") || strings.Contains(log, "shutdown timed out") {
		t.Error(log)
	}
}

// The PROXY header of a peer that is not a trusted proxy is refused as malformed HTTP.
func TestProxyProtocolOfStrangers(t *testing.T) {
	g := startProxied(t, false, "10.0.0.0/8")
	got := [3]int{
		say(g, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "", false),
		say(g, "", "", false),
		say(g, "", "X-Forwarded-For: 192.0.2.1\r\n", false),
	}
	if got != [3]int{http.StatusBadRequest, 200, 429} {
		t.Errorf("with a PROXY header, without, and with another header: %v", got)
	}
	if log := g.Log.Take(); strings.Contains(log, "PROXY") {
		t.Error(log)
	}
}
