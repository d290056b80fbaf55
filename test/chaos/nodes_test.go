package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/redistest"
)

// A killed node loses the connections of its calls. The calls resume on the other nodes, and are not interrupted when
// the node is started again.
func TestNodesAreKilled(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, 3, ttl, "--redis-url="+redis.URL())
	for _, n := range w.fleet[:2] {
		w.pass(0.2)
		mark := w.fault("%s is killed", n.Name())
		n.Kill()
		w.calls.AwaitReturn(mark, n)
		w.pass(0.2)
		n.Start()
		w.say("%s is back", n.Name())
	}
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	w.verdict(on(redis))
}

func TestRollingRestart(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, 3, ttl, "--redis-url="+redis.URL())
	for _, n := range w.fleet {
		w.pass(0.25)
		mark := w.fault("%s is sent away", n.Name())
		n.Stop()
		w.say("%s has stopped", n.Name())
		n.Start()
		w.calls.AwaitReturn(mark, n)
	}
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	w.verdict(on(redis))
}

// The App Certificate is rotated while a node is killed and Redis is down. Within --certificate-spread, the time in
// which the nodes renew all sessions after a rotation, all calls have tokens of the new certificate, so none is dropped
// when Agora no longer accepts the old one.
func TestCertificateIsRotated(t *testing.T) {
	t.Parallel()
	const next = "0123456789abcdef0123456789ABCDEF"
	file := filepath.Join(t.TempDir(), "certificates")
	write := func(certificates ...string) {
		t.Helper()
		if err := os.WriteFile(file+".next", []byte(strings.Join(certificates, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".next", file); err != nil {
			t.Fatal(err)
		}
	}
	write(nodetest.Certificate, next)
	redis := redistest.Start(t)
	w := newWorld(t, 3, 2*ttl, "--redis-url="+redis.URL(), "--app-certificate-file="+file, "--certificate-spread=2s")
	w.pass(0.2)
	w.calls.Accept(nodetest.Certificate, next)
	mark := w.fault("the certificate is rotated")
	write(next, nodetest.Certificate)
	w.fleet[1].Await(1, "certificate rotation started")
	killed := w.fleet[0]
	gone := w.fault("%s is killed, and so is Redis", killed.Name())
	redis.Kill()
	killed.Kill()
	w.calls.AwaitReturn(gone, killed)
	redis.Restart()
	killed.Start()
	w.calls.AwaitRenewals(mark, 1)
	w.calls.Accept(next, "")
	w.say("the old one is refused")
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	w.verdict(on(redis))
}

// pausedTTL is the lifetime of the tokens in TestPausedNode. With it, clients notice within 6 s
// that their node is silent: they ping every 2 s and wait 4 s for an answer.
const pausedTTL = 32 * time.Second

// pastLease is longer than a node's lease, which is 10 s.
const pastLease = 13 * time.Second

// A node hangs, and its calls move to other nodes. When the node continues, it still believes that it owns their
// sessions. It must find out that other nodes own them now, and must leave them alone.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, 3, pausedTTL, "--redis-url="+redis.URL())
	w.pass(0.2)
	paused := w.fleet[0]
	mark := w.fault("%s is paused", paused.Name())
	paused.Pause()
	w.wait(pastLease)
	w.calls.AwaitReturn(mark, paused)

	awake := w.calls.Mark()
	w.say("%s goes on", paused.Name())
	paused.Resume()
	moved := 0
	for i := range mark {
		if mark[i].Node == paused {
			moved++
		}
	}
	paused.Await(moved, "session moved to another node")
	w.say("%s has let go of %d calls", paused.Name(), moved)
	w.calls.AwaitRenewals(awake, 1)
	w.pass(0.5)
	for i, now := range w.calls.Mark() {
		if mark[i].Node == paused && now.Connected != awake[i].Connected {
			t.Errorf("call %d had to connect again: %v", i+1, now.LastLoss)
		}
	}
	if attached := w.fleet.Sum(`refresher_sessions{state="attached"}`); attached != float64(callers) {
		t.Errorf("%v sessions are attached to all nodes together; want %d", attached, callers)
	}
	if detached := w.fleet.Sum(`refresher_sessions{state="detached"}`); detached != 0 {
		t.Errorf("%v sessions are detached; want none", detached)
	}
	w.verdict(on(redis))
}
