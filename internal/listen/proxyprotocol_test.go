package listen_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// startProxied runs a node that trusts the PROXY headers of the given proxies, and admits one request per
// client address.
func startProxied(t *testing.T, proxies []string, change func(*app.Config)) *apptest.LoggedNode {
	t.Helper()
	return apptest.StartLoggedNode(t, func(c *app.Config) {
		c.ProxyProtocol, c.TrustedProxies, c.AddressRate = true, proxies, 0.0001
		if change != nil {
			change(c)
		}
	}, app.Outside{}, new(net.Dialer).DialContext)
}

// say sends a PROXY header and an HTTP request on a new connection, and returns the status of the answer, or 0 if there
// was none.
func say(g *apptest.LoggedNode, header, request string, secured bool) int {
	g.T.Helper()
	c, err := new(net.Dialer).DialContext(g.T.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		g.T.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, header); err != nil {
		g.T.Fatal(err)
	}
	if secured {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := io.WriteString(c, request); err != nil && !secured {
		g.T.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func get(header string) string {
	return "GET /rtm/ana HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + header + "\r\n"
}

// version2 returns a binary PROXY header.
func version2(t *testing.T, command proxyproto.ProtocolVersionAndCommand, from string) string {
	t.Helper()
	h := proxyproto.Header{
		Version: 2, Command: command, TransportProtocol: proxyproto.TCPv4,
		SourceAddr:      &net.TCPAddr{IP: net.ParseIP(from), Port: 4711},
		DestinationAddr: &net.TCPAddr{IP: net.ParseIP("192.0.2.200"), Port: 443},
	}
	var b bytes.Buffer
	if _, err := h.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The client's address is the one in the PROXY header of a trusted proxy. If that address is itself a trusted
// proxy, its forwarding headers count as well.
func TestProxyProtocol(t *testing.T) {
	for _, secured := range []bool{false, true} {
		g := startProxied(t, []string{"127.0.0.1", "10.0.0.0/8"}, func(c *app.Config) {
			if secured {
				c.TLSCertFile, c.TLSKeyFile = newCertificateFiles(t, "calls.test")
			}
		})
		for _, c := range []struct {
			name, header, forwarded string
			want                    int
		}{
			{"a client", "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "", 200},
			{"the same", "PROXY TCP4 192.0.2.1 192.0.2.200 5001 443\r\n", "", 429},
			{"another", "PROXY TCP4 192.0.2.2 192.0.2.200 5000 443\r\n", "", 200},
			{"the first, in version 2", version2(t, proxyproto.PROXY, "192.0.2.1"), "", 429},
			{"a third, in version 2", version2(t, proxyproto.PROXY, "192.0.2.3"), "", 200},
			{"by IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n", "", 200},
			{"a client that claims to be another", "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.9\r\n", 429},
			{"behind a second proxy", "PROXY TCP4 10.0.0.7 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.4\r\n", 200},
			{"the same, behind it", "PROXY TCP4 10.0.0.7 192.0.2.200 5000 443\r\n", "X-Forwarded-For: 192.0.2.4\r\n", 429},
			{"the proxy for itself", version2(t, proxyproto.LOCAL, "192.0.2.5"), "", 200},
			{"again", "PROXY UNKNOWN\r\n", "", 429},
			{"no header", "", "", 0},
			{"no header, and a forged one", "", "X-Forwarded-For: 192.0.2.6\r\n", 0},
			{"half a header", "PROXY TCP4 192.0.2.7\r\n", "", 0},
		} {
			if got := say(g, c.header, get(c.forwarded), secured); got != c.want {
				t.Errorf("%s, TLS %t: %d, want %d", c.name, secured, got, c.want)
			}
		}
		g.Log.Await("no valid PROXY header from a trusted proxy")
		if log := g.Log.Take(); strings.Count(log, "no valid PROXY header") != 1 || !strings.Contains(log, "remote=127.0.0.1:") {
			t.Error(log)
		}
	}
}

// A malformed header is logged, because the proxy's clients get no answer.
func TestProxyProtocolMalformed(t *testing.T) {
	for name, header := range map[string]string{
		"no address": "PROXY TCP4 192.0.2.7\r\n", "no line": "PROXY TCP4 " + strings.Repeat("1", 200),
		"version 3": "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00",
	} {
		g := startProxied(t, []string{"127.0.0.1"}, nil)
		if got := say(g, header, get(""), false); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
		g.Stop()
		if log := g.Log.Take(); strings.Count(log, "no valid PROXY header from a trusted proxy") != 1 {
			t.Errorf("%s: %s", name, log)
		}
	}
}

// The PROXY header of a peer that is not a trusted proxy is refused as malformed HTTP.
func TestProxyProtocolOfStrangers(t *testing.T) {
	g := startProxied(t, []string{"10.0.0.0/8"}, nil)
	if got := say(g, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n", get(""), false); got != http.StatusBadRequest {
		t.Errorf("a header: %d", got)
	}
	if got := []int{say(g, "", get(""), false), say(g, "", get("X-Forwarded-For: 192.0.2.1\r\n"), false)}; got[0] != 200 || got[1] != 429 {
		t.Errorf("without: %v", got)
	}
	if log := g.Log.Take(); strings.Contains(log, "PROXY") {
		t.Error(log)
	}
}

// A WebSocket works behind a PROXY header.
func TestProxyProtocolWebSocket(t *testing.T) {
	g := startProxied(t, []string{"127.0.0.1"}, nil)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", g.App.Addr().String())
		if err == nil {
			_, err = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n")
		}
		return c, err
	}}
	c, _, err := websocket.Dial(t.Context(), "ws://localhost/v1/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.NewSocket(t, c)
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	_ = c.CloseNow()
}

// A load balancer that checks the port by connecting to it causes no log line.
func TestProxyProtocolCheckByConnecting(t *testing.T) {
	g := startProxied(t, []string{"127.0.0.1"}, nil)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c) // until the node closes the connection
	_ = c.Close()
	g.Stop()
	if log := g.Log.Take(); strings.Contains(log, "PROXY") {
		t.Error(log)
	}
}

// A proxy on the same machine may send the PROXY header over a Unix socket.
func TestProxyProtocolOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	startProxied(t, []string{"unix"}, func(c *app.Config) { c.Listen, c.SocketMode = "unix:"+path, 0o600 })
	ask := func(from string) int {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "PROXY TCP4 "+from+" 192.0.2.200 5000 443\r\n"+get("")); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if got := []int{ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")}; got[0] != 200 || got[1] != 429 || got[2] != 200 {
		t.Errorf("limits by address: %v", got)
	}
}
