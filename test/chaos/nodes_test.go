package chaos

import (
	"testing"
	"time"

	"refresher/test/redistest"
)

// A node that is killed takes the connections of its calls with it. They come
// back on the others, and the node comes back without anybody noticing.
func TestNodesAreKilled(t *testing.T) {
	redis := redistest.Start(t)
	w := newWorld(t, 3, ttl, "--redis-url="+redis.URL())
	for _, n := range w.fleet[:2] {
		w.pass(0.2)
		mark := w.fault("%s is killed", n.name)
		n.kill()
		w.calls.awaitReturn(mark, n)
		w.pass(0.2)
		n.start()
		w.say("%s is back", n.name)
	}
	w.calls.awaitRenewals(w.calls.mark(), 1)
	w.demandStored(on(redis))
	w.verdict()
}

// A new release is rolled out node by node.
func TestRollingRestart(t *testing.T) {
	redis := redistest.Start(t)
	w := newWorld(t, 3, ttl, "--redis-url="+redis.URL())
	for _, n := range w.fleet {
		w.pass(0.25)
		mark := w.fault("%s is sent away", n.name)
		n.stop()
		w.say("%s has stopped", n.name)
		n.start()
		w.calls.awaitReturn(mark, n)
	}
	w.calls.awaitRenewals(w.calls.mark(), 1)
	w.demandStored(on(redis))
	w.verdict()
}

// pausedTTL is long enough for clients who need up to 12 s to notice that their
// node is silent: half of it is left at least.
const pausedTTL = 32 * time.Second

// pastLease is longer than a node owns its sessions without a word, 10 s.
const pastLease = 13 * time.Second

// A node whose machine hung while its calls went elsewhere wakes up and thinks
// that they are still its own. It has to find out that they are not, and to
// leave them alone.
func TestPausedNode(t *testing.T) {
	redis := redistest.Start(t)
	w := newWorld(t, 3, pausedTTL, "--redis-url="+redis.URL(), "--heartbeat=2s")
	w.pass(0.2)
	paused := w.fleet[0]
	mark := w.fault("%s is paused", paused.name)
	paused.pause()
	w.wait(pastLease)
	w.calls.awaitReturn(mark, paused)

	awake := w.calls.mark()
	w.say("%s goes on", paused.name)
	paused.resume()
	moved := 0
	for i := range mark {
		if mark[i].node == paused {
			moved++
		}
	}
	paused.await(moved, "session lost to another node")
	w.say("%s has let go of %d calls", paused.name, moved)
	w.calls.awaitRenewals(awake, 1)
	w.pass(0.5)
	for i, now := range w.calls.mark() {
		if mark[i].node == paused && now.connected != awake[i].connected {
			t.Errorf("call %d had to connect again: %v", i+1, now.lastLoss)
		}
	}
	if attached := w.fleet.sum(`refresher_sessions{state="attached"}`); attached != float64(callers) {
		t.Errorf("%v sessions are attached to all nodes together; want %d", attached, callers)
	}
	if detached := w.fleet.sum(`refresher_sessions{state="detached"}`); detached != 0 {
		t.Errorf("%v sessions are detached; want none", detached)
	}
	w.demandStored(on(redis))
	w.verdict()
}
