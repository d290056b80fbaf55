//go:build programs

package proxies

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"refresher/test/nodetest"
)

// status requests a token through the proxy from a local address, and returns the status of
// the answer.
func (p *proxy) status(from, path string) int {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url("https", path), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := (&http.Client{Transport: p.transport(from)}).Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// joins demands that a call from this address can join through the proxy.
func (p *proxy) joins(from, path string) {
	p.t.Helper()
	c, _, err := websocket.Dial(p.t.Context(), p.url("wss", path), &websocket.DialOptions{HTTPClient: &http.Client{Transport: p.transport(from)}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if err := c.Write(p.t.Context(), websocket.MessageText, []byte(`{"type":"join","rtm":{"userId":"ana"}}`)); err != nil {
		p.t.Fatal(err)
	}
	if _, text, err := c.Read(p.t.Context()); err != nil || !strings.Contains(string(text), `"joined"`) {
		p.t.Errorf("joined by %s: %s, %v", path, text, err)
	}
}

// HAProxy in TCP mode passes the client's address in a PROXY header; the node serves TLS.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	node := nodetest.New(t, "node")
	p := prepare(t, &haproxy, node.Addr(), node.Addr())
	text := fmt.Sprintf(`
defaults
    mode tcp
    timeout connect 2s
    timeout client  150s
    timeout server  150s
frontend calls
    bind %s
    default_backend nodes
backend nodes
    server a %s send-proxy-v2 check check-send-proxy
`, p.address, node.Addr())
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]string{
		"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.1", "ADDRESS_RATE": "0.001",
		"TLS_CERT_FILE": p.path("fullchain.pem"), "TLS_KEY_FILE": p.path("privkey.pem"),
	} {
		node.Setenv("REFRESHER_" + variable + "=" + value)
	}
	node.Start()
	p.start()
	for _, c := range []struct {
		from string
		want int
	}{{"127.0.0.2", 200}, {"127.0.0.2", 429}, {"127.0.0.3", 200}} {
		if got := p.status(c.from, "/rtm/ana"); got != c.want {
			t.Errorf("from %s: %d, want %d", c.from, got, c.want)
		}
	}
	p.joins("127.0.0.4", "/v1/ws")
}

// nginx reaches a node by its Unix socket, under a path of a host that other services use too.
func TestUnixSocketUnderAPath(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "node-") //nolint:usetesting // t.TempDir's name is too long for a Unix socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// the workers of nginx may run as another user
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	node := nodetest.New(t, "node", "--listen=unix:"+socket, "--socket-mode=666", "--base-path=/calls", "--trusted-proxies=unix", "--address-rate=0.001")
	node.Start()
	p := prepare(t, &nginx, "unix:"+socket, "unix:"+socket, "location / {", "location /calls/ {")
	p.start()
	for _, c := range []struct {
		from, path string
		want       int
	}{
		{"127.0.0.2", "/calls/rtm/ana", 200},
		{"127.0.0.2", "/calls/rtm/ana", 429},
		{"127.0.0.3", "/calls/rtm/ana", 200},
		{"127.0.0.4", "/calls/", 200},
		{"127.0.0.4", "/rtm/ana", 404},
	} {
		if got := p.status(c.from, c.path); got != c.want {
			t.Errorf("%s from %s: %d, want %d", c.path, c.from, got, c.want)
		}
	}
	p.joins("127.0.0.5", "/calls/v1/ws")
}
