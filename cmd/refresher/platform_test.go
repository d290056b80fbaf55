package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// getUnix sends a GET request over a Unix socket.
func getUnix(t *testing.T, socket, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A killed node leaves its socket file behind. The next node replaces the file, serves under a base path, and
// removes the file when it stops.
func TestUnixSocketOfAKilledNode(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	args := []string{"serve", "--auth=none", "--listen=unix:" + socket, "--ops-listen=127.0.0.1:0", "--drain-window=0", "--socket-mode=600", "--base-path=/calls"}
	killed := serve(t, command(t, credentialsEnv, args...))
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait() // returns the error that the process was killed
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("no socket is left behind: %v", err)
	}
	next := serve(t, command(t, credentialsEnv, args...))
	if next.addr != socket {
		t.Errorf("listens on %s", next.addr)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if status, text := getUnix(t, socket, "http://localhost/calls/rtm/ana"); status != http.StatusOK || !strings.Contains(text, "rtmToken") {
		t.Errorf("%d %s", status, text)
	}
	if _, stderr, code := run(t, credentialsEnv, args...); code == 0 || !strings.Contains(stderr, "another process listens") {
		t.Errorf("a second one: exit %d: %s", code, stderr)
	}
	next.stop(syscall.SIGTERM)
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// systemd is notified when the node serves and when it begins to stop.
func TestSystemdIsNotified(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	told := func() string {
		t.Helper()
		text := make([]byte, 100)
		n, err := systemd.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(text[:n])
	}
	s := serve(t, command(t, append([]string{"NOTIFY_SOCKET=" + path}, credentialsEnv...),
		"serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0"))
	if got := told(); got != "READY=1" {
		t.Errorf("told %q as it serves", got)
	}
	s.stop(syscall.SIGTERM)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told %q as it stops", got)
	}

	// If systemd cannot be notified, the node logs that and serves.
	s = serve(t, command(t, append([]string{"NOTIFY_SOCKET=" + path + ".gone"}, credentialsEnv...),
		"serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0"))
	s.find("systemd could not be notified")
	s.stop(syscall.SIGTERM)
}

// selfSigned writes a self-signed certificate and its key, and returns the paths of both files.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"calls.test"}, NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// goroutines returns how many goroutines a service has, by its operations port.
func goroutines(t *testing.T, ops string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no go_goroutines in %s", text)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// Clients without a credential send bodies that never end. Each connection can occupy one handler, and only
// briefly: it has one request in progress even if the client offers HTTP/2, and the body is not read before
// the key is checked.
func TestBodiesThatNeverEnd(t *testing.T) {
	const connections = 60
	certFile, keyFile := selfSigned(t)
	s := serve(t, command(t, append([]string{"REFRESHER_JWT_SECRET=" + strings.Repeat("s", 32)}, credentialsEnv...),
		"serve", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0", "--tls-cert-file="+certFile, "--tls-key-file="+keyFile))
	before := goroutines(t, s.ops)
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
	requests := []string{
		"POST /getToken HTTP/1.1\r\nHost: x\r\n",
		"POST /v1/revocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n",
		"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n",
		"POST /v1/ws HTTP/1.1\r\nHost: x\r\n",
	}
	statuses := []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusNotFound, http.StatusUpgradeRequired}
	began := time.Now()
	var open []*tls.Conn
	for i := range connections {
		c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		secured := c.(*tls.Conn)
		if protocol := secured.ConnectionState().NegotiatedProtocol; protocol != "http/1.1" {
			t.Fatalf("speaks %q", protocol)
		}
		if _, err := io.WriteString(c, requests[i%len(requests)]+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"); err != nil {
			t.Fatal(err)
		}
		open = append(open, secured)
	}
	if held := goroutines(t, s.ops) - before; held > 2*connections {
		t.Errorf("%d connections hold %d goroutines", connections, held)
	}
	for i, c := range open {
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != statuses[i%len(statuses)] || !response.Close {
			t.Errorf("%q: %s, to be closed %t, %v", requests[i%len(requests)], response.Status, response.Close, err)
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil { // until the node closes the connection
			t.Errorf("%d bytes more, %v", n, err)
		}
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("held for %v", took)
	}
	s.stop(syscall.SIGTERM)
}

// A client that prefers HTTP/2 can still open a WebSocket over TLS. A request without an upgrade is answered
// with what is missing.
func TestWebSocketForAClientThatOffersHTTP2(t *testing.T) {
	certFile, keyFile := selfSigned(t)
	s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0",
		"--tls-cert-file="+certFile, "--tls-key-file="+keyFile))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	c, _, err := websocket.Dial(t.Context(), "wss://"+s.addr+"/v1/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.CloseNow()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired || response.ProtoMajor != 1 {
		t.Errorf("%s %s", response.Proto, response.Status)
	}
	s.stop(syscall.SIGTERM)
}

// The node also keeps descriptors free for probes if its clients come through a proxy that sends PROXY
// headers.
func TestDescriptorsAreKeptBackBehindProxies(t *testing.T) {
	const limit, clients = 64, 80
	c := command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0",
		"--proxy-protocol", "--trusted-proxies=127.0.0.1")
	limited(c, limit)
	s := serve(t, c)
	var open []net.Conn
	for range clients {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n") // fails if the node has closed the connection
	}
	if _, stderr, code := run(t, []string{"REFRESHER_OPS_LISTEN=" + s.ops}, "health", "--timeout=5s"); code != 0 {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	s.find(`"out of file descriptors for clients`)
	for _, c := range open {
		_ = c.Close()
	}
	s.stop(syscall.SIGTERM)
}
