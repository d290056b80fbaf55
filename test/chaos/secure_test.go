package chaos

import (
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/redistest"
)

// secured returns the flags of a node whose Redis uses TLS and requires a client certificate.
func secured(a *redistest.Authority, url string) []string {
	certFile, keyFile := a.Issue("refresher")
	return []string{"--redis-url=" + url, "--redis-ca-file=" + a.CAFile, "--redis-cert-file=" + certFile, "--redis-key-file=" + keyFile}
}

// Redis uses TLS, and closes connections that are idle for a second. A node is killed 3 s later, when Redis has
// closed idle connections. All its calls resume at once on the other node, which has to connect to Redis again to
// read their sessions.
func TestRedisClosesIdleConnections(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	redis := redistest.StartTLSFor(t, a, "127.0.0.1", "timeout 1")
	w := newWorld(t, 2, ttl, secured(a, redis.URL())...)
	for _, i := range []int{0, 1, 0} {
		w.wait(3 * time.Second)
		dead, other := w.fleet[i], w.fleet[1-i]
		mark := w.fault("%s is killed", dead.Name())
		dead.Kill()
		w.calls.AwaitReturn(mark, dead)
		w.demandNoLostConnections(other)
		dead.Start()
	}
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	w.verdict(on(redis))
}

// demandNoLostConnections fails the test if a store operation of a node failed because its connection was closed.
// Operations that timed out on a busy machine do not count.
func (w *world) demandNoLostConnections(n *nodetest.Node) {
	w.t.Helper()
	for _, message := range []string{storeAway, storeSilent} {
		for _, line := range n.Logged(message) {
			if strings.Contains(line, "EOF") || strings.Contains(line, "reset by peer") || strings.Contains(line, "broken pipe") {
				w.t.Errorf("%s: %s", n.Name(), line)
			}
		}
	}
}
