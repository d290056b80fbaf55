//go:build programs

package proxies

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// heartbeat is the service's default interval. If a client sends no ping for two heartbeats, the node closes the
// connection within another second.
const heartbeat = 50 * time.Second

// Every time-out of a proxy for idle calls is longer than the node's time-out. So the node, and not the proxy, closes
// the connection of a client that is gone.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for file, settings := range map[string][]string{
		"nginx.conf": {"proxy_read_timeout", "proxy_send_timeout"}, "haproxy.cfg": {"timeout client", "timeout server", "timeout tunnel"},
	} {
		for _, setting := range settings {
			found := regexp.MustCompile(`(?m)^\s*` + setting + `\s+(\w+);?$`).FindStringSubmatch(shipped(t, file))
			if found == nil {
				t.Fatalf("%s does not set %s", file, setting)
			}
			if value, err := time.ParseDuration(found[1]); err != nil || value <= 2*heartbeat+time.Second {
				t.Errorf("%s: %s is %v, %v; want more than two heartbeats of %v and a second", file, setting, found[1], err, heartbeat)
			}
		}
	}
	// By default Caddy and Traefik have no time-out for WebSockets. The files of deploy/proxies must not set one.
	for file, words := range map[string][]string{
		"Caddyfile":           {"stream_timeout", "read_timeout", "write_timeout"},
		"traefik-dynamic.yml": {"readIdleTimeout"},
	} {
		for _, word := range words {
			if strings.Contains(shipped(t, file), word) {
				t.Errorf("%s sets %s", file, word)
			}
		}
	}
}

// No proxy exposes the operations port, which reveals everything about a node.
func TestOperationsPortIsNotExposed(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"nginx.conf", "haproxy.cfg", "Caddyfile", "traefik.yml", "traefik-dynamic.yml"} {
		for line := range strings.Lines(shipped(t, file)) {
			rule, _, _ := strings.Cut(line, "#")
			if strings.Contains(rule, "9090") {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}

// A comment in HAProxy's file has lines for another health check, which asks for a node's readiness. These lines must
// be valid in place of the lines that ask for /ping.
func TestReadinessCheckIsValid(t *testing.T) {
	t.Parallel()
	p := prepare(
		t, &haproxy, program.Address(t), program.Address(t),
		"    http-check send meth GET uri /ping ver HTTP/1.1 hdr Host localhost\n", "",
		"    default-server check inter 2s fall 2 rise 2\n", "",
		"    #   http-check send meth GET uri / ", "    http-check send meth GET uri / ",
		"    #   default-server check inter 2s fall 1", "    default-server check inter 2s fall 1",
	)
	p.start()
}

// HAProxy in TCP mode passes the client's address to the node in a PROXY header. The node itself serves TLS.
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
		if got := p.statusOf(c.from, "/rtm/ana"); got != c.want {
			t.Errorf("from %s: %d, want %d", c.from, got, c.want)
		}
	}
}

// nginx reaches a node by its Unix socket, and serves it below a path of a host that other services use, too.
func TestUnixSocketUnderAPath(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "node-") //nolint:usetesting // t.TempDir's name is too long for a Unix socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// The workers of nginx may run as another user than the test, so other users must be able to open the folder of
	// the Unix socket.
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
		if got := p.statusOf(c.from, c.path); got != c.want {
			t.Errorf("%s from %s: %d, want %d", c.path, c.from, got, c.want)
		}
	}
}

// Debian has no Traefik, so this test does not run Traefik. It checks that each name in Traefik's configuration files is defined there.
func TestTraefik(t *testing.T) {
	t.Parallel()
	var static struct {
		EntryPoints map[string]struct {
			ForwardedHeaders struct{ Insecure bool } `yaml:"forwardedHeaders"`
		} `yaml:"entryPoints"`
	}
	var dynamic struct {
		HTTP struct {
			Routers map[string]struct {
				EntryPoints []string `yaml:"entryPoints"`
				Middlewares []string
				Service     string
			}
			Middlewares map[string]any
			Services    map[string]struct {
				LoadBalancer struct {
					ServersTransport string `yaml:"serversTransport"`
				} `yaml:"loadBalancer"`
			}
			ServersTransports map[string]any `yaml:"serversTransports"`
		}
	}
	for file, into := range map[string]any{"traefik.yml": &static, "traefik-dynamic.yml": &dynamic} {
		if err := yaml.Unmarshal([]byte(shipped(t, file)), into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	router := dynamic.HTTP.Routers["calls"]
	entry, found := static.EntryPoints[router.EntryPoints[0]]
	if !found || entry.ForwardedHeaders.Insecure {
		t.Errorf("the entry point %s does not exist, or believes what clients claim of their addresses", router.EntryPoints)
	}
	service, found := dynamic.HTTP.Services[router.Service]
	if !found || dynamic.HTTP.ServersTransports[service.LoadBalancer.ServersTransport] == nil {
		t.Errorf("the service %s or its transport does not exist", router.Service)
	}
	for _, name := range router.Middlewares {
		if dynamic.HTTP.Middlewares[name] == nil {
			t.Errorf("there is no middleware %s", name)
		}
	}
}
