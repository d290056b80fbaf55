package storetest

import (
	"context"
	"sync"
	"time"

	"refresher/internal/store"
)

var watchChecks = []check{
	{"tells the owner before of an Acquire", watchesAcquire},
	{"tells the owner before of a Save", watchesSave},
	{"tells the owner before of a claim", watchesClaim},
	{"tells each owner in turn", watchesInTurn},
	{"says nothing of a node's own doing", watchesOwn},
	{"says nothing of what was refused", watchesRefused},
	{"ends with its context, and can begin anew", watchesAgain},
}

// patience is how long a store may take to deliver a notice, before the test fails.
const patience = 10 * time.Second

// watcher collects the notices of sessions that other nodes acquire from one node.
type watcher struct {
	w       *world
	node    string
	notices chan string
	stop    func()
}

// watch starts a watcher, and returns when notices can arrive.
func (w *world) watch(node string) *watcher {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	v := &watcher{w: w, node: node, notices: make(chan string, 100)}
	connected, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- w.store.Watch(ctx, node, sync.OnceFunc(func() { close(connected) }), func(id string) {
			select {
			case v.notices <- id:
			default: // the channel is full of notices that no test expects, so the test fails anyway
			}
		})
	}()
	v.stop = sync.OnceFunc(func() {
		w.Helper()
		cancel()
		if err := w.await(done, "Watch to end"); err != nil {
			w.Errorf("Watch, whose context is done: %v, want nil", err)
		}
	})
	w.Cleanup(v.stop)
	select {
	case <-connected:
	case err := <-done:
		done <- err
		w.Fatalf("Watch ended before it was connected: %v", err)
	case <-time.After(patience):
		w.Fatalf("Watch is not connected after %s", patience)
	}
	return v
}

func (w *world) await(c <-chan error, what string) error {
	w.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		w.Fatalf("waiting for %s since %s", what, patience)
		return nil
	}
}

// told expects the next notice to name this session.
func (v *watcher) told(id string) {
	v.w.Helper()
	select {
	case got := <-v.notices:
		if got != id {
			v.w.Fatalf("%s is told of %s, want %s", v.node, got, id)
		}
	case <-time.After(patience):
		v.w.Fatalf("%s is not told of %s within %s", v.node, id, patience)
	}
}

// quiet expects that no other notices have arrived. To make sure, it causes one more
// notice in the same shard, which arrives after all earlier ones.
func (w *world) quiet(watchers ...*watcher) {
	w.Helper()
	for _, v := range watchers {
		r := w.record(w.id(), v.node)
		w.saved(r)
		w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: "node-other", Attach: true})
		v.told(r.Session)
	}
}

func watchesAcquire(w *world) {
	a, b, c := w.watch(nodeA), w.watch(nodeB), w.watch(nodeC)
	for _, attach := range []bool{true, false} {
		for _, s := range []stage{proven, detached, expired} {
			r := w.stored(w.at(s))
			w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: attach})
			a.told(r.Session)
		}
	}
	w.quiet(a, b, c)
}

func watchesSave(w *world) {
	a, b, c := w.watch(nodeA), w.watch(nodeB), w.watch(nodeC)
	for _, s := range []stage{proven, attached, detached, expired, ended, removed, tombstone} {
		r := w.stored(w.record(w.id(), nodeA))
		r.Node, r.Epoch = nodeB, 2
		w.become(&r, s)
		w.saved(r)
		a.told(r.Session)
	}
	// Of two nodes that save a session with the same epoch, the node whose record ranks lower loses
	// the session, and is notified.
	r := w.stored(w.at(detached))
	r.Node = nodeB
	w.become(&r, attached)
	w.saved(r)
	a.told(r.Session)
	w.quiet(a, b, c)
}

func watchesClaim(w *world) {
	a, b, c := w.watch(nodeA), w.watch(nodeB), w.watch(nodeC)
	r := w.stored(w.overdue(w.id()))
	w.handed(nodeB, r.Session)
	a.told(r.Session)
	w.quiet(a, b, c)
}

func watchesInTurn(w *world) {
	a, b, c := w.watch(nodeA), w.watch(nodeB), w.watch(nodeC)
	r := w.stored(w.record(w.id(), nodeA))
	w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 1, Node: nodeB, Attach: true})
	a.told(r.Session)
	r.Node, r.Epoch = nodeC, 3
	w.saved(r)
	b.told(r.Session)
	w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 3, Node: nodeA, Attach: false})
	c.told(r.Session)
	w.quiet(a, b, c)
}

func watchesOwn(w *world) {
	a, b := w.watch(nodeA), w.watch(nodeB)
	r := w.stored(w.overdue(w.id()))
	w.next(&r)
	w.handed(nodeA, r.Session)
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeA, Attach: true})
	r.Epoch = held.Epoch
	w.turns(&r, ended)
	w.turns(&r, tombstone)
	other := w.stored(w.record(w.id(), nodeA))
	w.turns(&other, removed)
	other = w.record(other.Session, nodeB) // saving this session again notifies no node, since a removed session has no owner
	w.saved(other)
	w.quiet(a, b)
}

func watchesRefused(w *world) {
	a, b := w.watch(nodeA), w.watch(nodeB)
	r := w.record(w.id(), nodeA)
	r.Epoch, r.Version = 10, 10
	w.become(&r, proven)
	w.saved(r)
	for _, s := range []side{
		{proven, 9, nodeB, 11}, {proven, 10, nodeB, 11}, {detached, 10, nodeB, 11}, {proven, 10, nodeA, 9},
	} {
		w.save(s.record(w, r.Session, 0))
	}
	w.refused(store.AcquireRequest{Session: r.Session, Epoch: 9, Node: nodeB, Attach: true}, superseded(&r))
	w.holds(&r)
	a.told(r.Session) // the notice comes from the function `holds`, which acquires the session to read it

	over := w.stored(w.at(ended))
	w.save(side{proven, 2, nodeB, 1}.record(w, over.Session, 0))
	w.refused(store.AcquireRequest{Session: over.Session, Epoch: 1, Node: nodeB, Attach: true}, over.Ending())
	w.quiet(a, b)
}

func watchesAgain(w *world) {
	first := w.watch(nodeA)
	first.stop()
	second := w.watch(nodeA)
	r := w.stored(w.record(w.id(), nodeA))
	w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 1, Node: nodeB, Attach: true})
	second.told(r.Session)
	w.quiet(second)
	if n := len(first.notices); n > 0 {
		w.Errorf("a Watch that has ended gave %d notices", n)
	}
}
