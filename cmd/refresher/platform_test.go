package main

import (
	"crypto/tls"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"refresher/test/redistest"
)

// A killed node leaves its socket file behind. The next node replaces that file, and removes its own when it stops.
func TestUnixSocketOfAKilledNode(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	line := "serve --auth=none --listen=unix:" + socket + " --ops-listen=127.0.0.1:0 --socket-mode=600"
	killed := startCommand(t, command(t, credentialsEnv, line))
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait() // Wait returns an error, since the process was killed
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("no socket is left behind: %v", err)
	}
	next := startCommand(t, command(t, credentialsEnv, line))
	if info, err := os.Stat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 || next.addr != socket {
		t.Errorf("%v, %v, listens on %s", info, err, next.addr)
	}
	next.stop(syscall.SIGTERM)
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// systemd is notified when the node serves and when it begins to stop. If it cannot be notified, the node serves.
func TestSystemdIsNotified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	demandNotice := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		if n, err := systemd.Read(text); err != nil || string(text[:n]) != want {
			t.Errorf("%q, %v; want %s", text[:n], err, want)
		}
	}
	s := start(t, append(credentialsEnv, "NOTIFY_SOCKET="+path), "serve --auth=none")
	demandNotice("READY=1")
	s.stop(syscall.SIGTERM)
	demandNotice("STOPPING=1")

	s = start(t, append(credentialsEnv, "NOTIFY_SOCKET="+path+".gone"), "serve --auth=none")
	s.find("systemd could not be notified")
}

// A client that offers HTTP/2 gets HTTP/1.1, and can open a WebSocket over TLS.
func TestClientThatOffersHTTP2(t *testing.T) {
	certFile, keyFile := redistest.NewAuthority(t).Issue("calls.test")
	s := start(t, credentialsEnv, "serve --auth=none --tls-cert-file="+certFile+" --tls-key-file="+keyFile)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	socket, _, err := websocket.Dial(t.Context(), "wss://"+s.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.CloseNow()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired || response.ProtoMajor != 1 {
		t.Errorf("%s %s", response.Proto, response.Status)
	}
}
