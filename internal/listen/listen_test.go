package listen_test

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// unixClient returns an HTTP client that connects to a Unix socket.
func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// A node can listen on a Unix socket. The file's group may use it, it counts as local for --auth=none, and a
// trusted proxy behind it can forward its clients' addresses. The file is removed when the node stops.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Listen, c.SocketMode = "unix:"+path, 0o660
		c.TrustedProxies, c.AddressRate = []string{"unix"}, 0.001
	})
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	client := unixClient(path)
	ask := func(from string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/rtm/ana", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", from)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if got := []int{ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")}; got[0] != 200 || got[1] != 429 || got[2] != 200 {
		t.Errorf("limits by address: %v", got)
	}
	c, _, err := websocket.Dial(t.Context(), "ws://localhost/v1/ws", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := apptest.NewSocket(t, c)
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	_ = c.CloseNow()
	n.Stop()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

// Open removes an existing file only if it is a socket on which no process listens.
func TestSocketThatIsThereAlready(t *testing.T) {
	dir := t.TempDir()
	stale, used, other := filepath.Join(dir, "stale"), filepath.Join(dir, "used"), filepath.Join(dir, "file")
	for _, path := range []string{stale, used} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if path == stale { // as a killed process leaves it
			_ = l.Close()
		} else {
			defer l.Close()
		}
	}
	if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	apptest.StartNode(t, func(c *app.Config) { c.Listen, c.SocketMode = "unix:"+stale, 0o600 }).Stop()
	for path, want := range map[string]string{used: "another process listens", other: "not a socket"} {
		c := apptest.Config()
		c.Listen = "unix:" + path
		if _, err := app.New(c, apptest.Quiet); err == nil || !strings.HasPrefix(err.Error(), "listen: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(other); string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "unix", used); err != nil {
		t.Errorf("the other process's socket is gone: %v", err)
	} else {
		_ = c.Close()
	}
}

// The operations port needs no credentials. On loopback it therefore refuses web pages whose host name was
// made to resolve to it (DNS rebinding). On other addresses it accepts any host name.
func TestOpsPortOnLoopbackServesOnlyLocalhost(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "127.0.0.1:9090": http.StatusOK, "[::1]:9090": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "evil.example:9090": http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/nothing"} {
			got, text := n.Request(http.MethodGet, "http://"+n.App.OpsAddr().String()+path, "", "Host", host)
			if refused := got.StatusCode == http.StatusMisdirectedRequest; refused != (status == http.StatusMisdirectedRequest) {
				t.Errorf("%s for %s: %d %s, want %d", path, host, got.StatusCode, text, status)
			}
		}
	}
	// Load balancers send HTTP/1.0 checks without a Host header; browsers never do.
	conn, err := net.Dial("tcp", n.App.OpsAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.Body.Close()
	if got.StatusCode != http.StatusOK {
		t.Errorf("without a Host: %d", got.StatusCode)
	}
	open := apptest.StartNode(t, func(c *app.Config) { c.OpsListen = "0.0.0.0:0" })
	_, port, _ := net.SplitHostPort(open.App.OpsAddr().String())
	if got, _ := open.Request(http.MethodGet, "http://127.0.0.1:"+port+"/metrics", "", "Host", "node1.example:9090"); got.StatusCode != http.StatusOK {
		t.Errorf("by its name in the network: %d", got.StatusCode)
	}
}
