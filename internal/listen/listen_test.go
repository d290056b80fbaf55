package listen_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/listen"
	"refresher/internal/protocol"
	"refresher/test/redistest"
)

// A node can listen on a Unix socket. The file's group may use the socket, and the socket counts as local for
// --auth=none. A trusted proxy that connects to the socket can forward its clients' addresses. The file is removed when
// the node stops.
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
	for i, c := range []struct {
		from string
		want int
	}{{"192.0.2.1", 200}, {"192.0.2.1", 429}, {"192.0.2.2", 200}} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, conn, "GET /rtm/ana HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "+c.from+"\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("request %d: %d, want %d", i+1, response.StatusCode, c.want)
		}
		_ = conn.Close()
	}
	n.Stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
}

// Open removes an existing file only if it is a socket on which no process listens.
func TestSocketThatIsThereAlready(t *testing.T) {
	dir := t.TempDir()
	stale, used, other := filepath.Join(dir, "stale"), filepath.Join(dir, "used"), filepath.Join(dir, "file")
	for _, path := range []string{stale, used} {
		l, err := listen.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if path == stale { // closing the listener leaves the socket file behind, as the kill of a process does
			_ = l.Close()
		} else {
			defer l.Close()
		}
	}
	if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{stale: "", used: "another process listens", other: "not a socket"} {
		l, err := listen.Open("unix:"+path, 0o600, listen.Listen)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
	for _, path := range []string{used, other} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// When the certificate file changes, open connections stay open, and new connections are accepted. Tests of
// internal/files check which certificate is in use.
func TestTLSByFiles(t *testing.T) {
	authority := redistest.NewAuthority(t)
	certificate, key := authority.Issue("calls.test")
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.TLSCertFile, c.TLSKeyFile = certificate, key
	}, app.Outside{}, nil)
	ca, err := os.ReadFile(authority.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	connect := func() *websocket.Conn {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "calls.test"}}}
		c, _, err := websocket.Dial(t.Context(), "wss://"+g.App.Addr().String()+"/v1/ws", &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := connect()
	defer func() { _ = c.CloseNow() }()
	s := apptest.NewSocket(t, c)
	s.Send(`{"type":"join","auth":"` + apptest.Pass(nil) + `","rtm":{"userId":"u"}}`)
	s.Expect(protocol.TypeJoined)

	newCertificate, newKey := authority.Issue("calls.test")
	for from, to := range map[string]string{newCertificate: certificate, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	g.Reloads <- syscall.SIGHUP
	g.Log.Await("file changed, its new content is in use")
	_ = connect().CloseNow()
	s.Send(`{"type":"ping"}`) // a connection that is open during the change stays open
	s.Expect(protocol.TypePong)
	if log := g.Log.Take(); strings.Contains(log, "PRIVATE") {
		t.Errorf("the log shows the key: %s", log)
	}
}
