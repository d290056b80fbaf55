//go:build programs

package proxies

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"refresher/test/program"
)

// heartbeat is the service's default. A node closes a connection that sent no ping for two
// heartbeats, and up to a second later.
const heartbeat = 50 * time.Second

// Each proxy program accepts its configuration files.
func TestFilesAreValid(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		p := prepare(t, k, program.Address(t), program.Address(t))
		check := k.check(p)
		p.run(check[0], check[1:]...)
	})
}

// Every time-out that applies to an idle call is longer than the node's own. So the node, not
// the proxy, closes the connection of a lost client.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, of := range []struct {
		k        *kind
		settings []string
	}{
		{&nginx, []string{"proxy_read_timeout", "proxy_send_timeout"}},
		{&haproxy, []string{"timeout client", "timeout server", "timeout tunnel"}},
	} {
		text := shipped(t, of.k.file)
		for _, setting := range of.settings {
			found := regexp.MustCompile(`(?m)^\s*` + setting + `\s+(\w+);?$`).FindStringSubmatch(text)
			if found == nil {
				t.Errorf("%s does not set %s", of.k.file, setting)
				continue
			}
			value, err := time.ParseDuration(found[1])
			if err != nil || value <= 2*heartbeat+time.Second {
				t.Errorf("%s: %s is %v, %v; want more than two heartbeats of %v and a second", of.k.file, setting, found[1], err, heartbeat)
			}
		}
	}
	// These proxies have no time-out for WebSockets by default, and the files set none.
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

// No rule exposes the operations port, which reveals everything about a node.
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
