//go:build programs

package proxies

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/program"
	"refresher/test/redistest"
)

// These are the nodes' addresses in the shipped files.
const (
	nodeA = "10.0.0.11:8080"
	nodeB = "10.0.0.12:8080"
)

// kind is a proxy program with its configuration file.
type kind struct {
	name string
	file string // in deploy/proxies
	// places maps the addresses and paths in the file to the values that the test needs.
	places func(p *proxy) map[string]string
	// command returns the command that runs the proxy with a file.
	command func(p *proxy) program.Command
	// ready is a part of the log line that the proxy writes when it begins to serve, also after a reload.
	ready string
	// These are the statuses of the proxy's answers to bodies and headers that are too large.
	bodyTooLarge, headerTooLarge int
	reload                       func(p *proxy)
	// down and up are parts of the log lines that the proxy writes when it stops and begins to send requests to the
	// first node. They are empty if the proxy holds a request back until it has found a node that answers.
	down, up string
}

func TestMain(m *testing.M) {
	// These tests wait for most of their time, so more of them run in parallel than the machine has processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	nodetest.Main(m)
}

var nginx = kind{
	name: "nginx", file: "nginx.conf", ready: "start worker process ", bodyTooLarge: 413, headerTooLarge: 400,
	places: func(p *proxy) map[string]string {
		return map[string]string{
			"listen 443 ": "listen " + p.address + " ", "server_name calls.example.com": "server_name localhost",
			"/etc/refresher/tls/fullchain.pem": p.path("fullchain.pem"), "/etc/refresher/tls/privkey.pem": p.path("privkey.pem"),
			"/run/nginx.pid": p.path("nginx.pid"), "/var/log/nginx/refresher.log": "/dev/stdout",
			"/var/log/nginx/refresher-error.log": p.path("error.log"),
		}
	},
	command: func(p *proxy) program.Command {
		return program.Command{
			Path: "nginx",
			// The tests wait for lines of this second log, which the shipped file does not have.
			Args: []string{"-c", p.config, "-g", "daemon off; error_log stderr notice;"},
		}
	},
	reload: func(p *proxy) { p.signal(syscall.SIGHUP) },
}

var haproxy = kind{
	name: "haproxy", file: "haproxy.cfg", ready: "Loading success", bodyTooLarge: 413, headerTooLarge: 400,
	places: func(p *proxy) map[string]string {
		return map[string]string{
			"bind :443 ": "bind " + p.address + " ", "/etc/refresher/tls/site.pem": p.path("site.pem"),
			"/run/haproxy/admin.sock": p.socket,
		}
	},
	command: func(p *proxy) program.Command {
		return program.Command{Path: "haproxy", Args: []string{"-W", "-db", "-f", p.config}}
	},
	reload: func(p *proxy) { p.signal(syscall.SIGUSR2) },
	down:   "Server nodes/a is DOWN", up: "Server nodes/a is UP",
}

var caddy = kind{
	name: "caddy", file: "Caddyfile", ready: "serving initial configuration", bodyTooLarge: 400, headerTooLarge: 431,
	places: func(p *proxy) map[string]string {
		return map[string]string{
			"calls.example.com:443": "https://localhost:" + port(p.address), "admin localhost:2019": "admin " + p.admin,
			"/etc/refresher/tls/fullchain.pem": p.path("fullchain.pem"), "/etc/refresher/tls/privkey.pem": p.path("privkey.pem"),
		}
	},
	command: func(p *proxy) program.Command {
		return program.Command{Path: "caddy", Args: []string{"run", "--config", p.config, "--adapter", "caddyfile"}, Env: []string{"HOME=" + p.dir}}
	},
	reload: func(p *proxy) {
		p.run("caddy", "reload", "--config", p.config, "--adapter", "caddyfile", "--address", p.admin, "--force")
	},
}

var kinds = []*kind{&nginx, &haproxy, &caddy}

func each(t *testing.T, test func(t *testing.T, k *kind)) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

type proxy struct {
	t       *testing.T
	kind    *kind
	dir     string
	config  string
	address string
	admin   string
	socket  string
	log     program.Journal
	process *program.Process
	roots   *tls.Config
	dials   atomic.Int64
}

// prepare writes the shipped file with the addresses and paths of the test. The texts in `others` alternate: an old
// text of the file, and its replacement.
func prepare(t *testing.T, k *kind, a, b string, others ...string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy-") //nolint:usetesting // t.TempDir's name is too long for a Unix socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &proxy{
		t: t, kind: k, dir: dir, config: filepath.Join(dir, k.file), address: program.Address(t), admin: program.Address(t),
		socket: filepath.Join(dir, "admin.sock"),
	}
	p.certify()
	text := shipped(t, k.file)
	replace := func(old, with string) {
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q", k.file, old)
		}
		text = strings.ReplaceAll(text, old, with)
	}
	replace(nodeA, a)
	replace(nodeB, b)
	for old, with := range k.places(p) {
		replace(old, with)
	}
	for i := 0; i < len(others); i += 2 {
		replace(others[i], others[i+1])
	}
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// certify makes a certificate for localhost in the file formats of the proxies.
func (p *proxy) certify() {
	p.t.Helper()
	authority := redistest.NewAuthority(p.t)
	certFile, keyFile := authority.Issue("localhost")
	chain, key, root := read(p.t, certFile), read(p.t, keyFile), read(p.t, authority.CAFile)
	for name, text := range map[string]string{"fullchain.pem": chain, "privkey.pem": key, "site.pem": chain + key} {
		if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	p.roots = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	p.roots.RootCAs.AppendCertsFromPEM([]byte(root))
}

// start runs a proxy in front of nodes, and returns when it serves.
func start(t *testing.T, k *kind, nodes nodetest.Fleet, others ...string) *proxy {
	t.Helper()
	p := prepare(t, k, nodes[0].Addr(), nodes[len(nodes)-1].Addr(), others...)
	p.start()
	return p
}

func (p *proxy) start() {
	p.t.Helper()
	command := p.kind.command(p)
	command.Dir, command.Guarded = p.dir, true
	process, err := program.Start(&p.log, command)
	if err != nil {
		p.t.Fatalf("start %s (make setup installs it): %v", p.kind.name, err)
	}
	p.process = process
	p.t.Cleanup(func() {
		process.Kill()
		if p.t.Failed() {
			p.t.Logf("%s said:\n%s", p.kind.name, p.log.Tail(40))
		}
	})
	p.await(0, p.kind.ready)
}

func (p *proxy) await(from int, text string) {
	p.t.Helper()
	err := p.log.Await(from, p.process.Done(), nodetest.Patience, func(line program.Line) bool { return strings.Contains(line.Text, text) })
	if err != nil {
		p.t.Fatalf("%s: wait for %q: %v", p.kind.name, text, err)
	}
}

// reloaded reloads the proxy, and returns when it serves with the new file.
func (p *proxy) reloaded() {
	p.t.Helper()
	from := p.log.Len()
	p.kind.reload(p)
	if p.kind != &caddy { // Caddy's command returns only when the reload is done
		p.await(from, p.kind.ready)
	}
}

// awaitNode waits until the proxy has written a line about a node, its kind's down or up, after the line number from.
func (p *proxy) awaitNode(from int, line string) {
	p.t.Helper()
	if line != "" {
		p.await(from, line)
	}
}

func (p *proxy) signal(s syscall.Signal) {
	if err := p.process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *proxy) run(args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "HOME="+p.dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

func (p *proxy) path(name string) string { return filepath.Join(p.dir, name) }

// url returns an address of the service for clients, through the proxy.
func (p *proxy) url(scheme, path string) string {
	return scheme + "://localhost:" + port(p.address) + path
}

// transport returns an HTTP transport that connects to the proxy from a local address. Each request has a new
// connection.
func (p *proxy) transport(from string) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		p.dials.Add(1)
		return dialer.DialContext(ctx, network, address)
	}
	return &http.Transport{DialContext: dial, TLSClientConfig: p.roots.Clone(), DisableKeepAlives: true}
}

// ask sends a request from a local address, and returns the status and the body of the answer.
func (p *proxy) ask(from, method, path, body string, header ...string) (status int, text string, err error) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url("https", path), strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := (&http.Client{Transport: p.transport(from)}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// statusOf sends a GET request, and returns the status of the answer. It fails the test if there is none.
func (p *proxy) statusOf(from, path string) int {
	p.t.Helper()
	status, _, err := p.ask(from, http.MethodGet, path, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return status
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func shipped(t *testing.T, name string) string {
	t.Helper()
	return read(t, filepath.Join("../../deploy/proxies", name))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
