package main

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// getUnix asks a service that listens on a Unix socket.
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

// A node that was killed leaves its socket behind; the next one takes its place,
// under a base path, and removes the file as it stops.
func TestUnixSocketOfAKilledNode(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	args := []string{"serve", "--auth=none", "--listen=unix:" + socket, "--ops-listen=127.0.0.1:0", "--drain-window=0", "--socket-mode=600", "--base-path=/calls"}
	killed := serve(t, command(t, credentialsEnv, args...))
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait() // says that it was killed
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

// systemd is told when the node serves, and when it begins to stop.
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

	// Without somebody to tell it serves all the same, and says so.
	s = serve(t, command(t, append([]string{"NOTIFY_SOCKET=" + path + ".gone"}, credentialsEnv...),
		"serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--drain-window=0"))
	s.find("systemd could not be notified")
	s.stop(syscall.SIGTERM)
}
