package storetest

import (
	"time"

	"refresher/internal/store"
)

var nodesChecks = []check{
	{"shows the nodes whose lease holds", nodesLive},
	{"keeps what each node says, by topic", nodesSay},
	{"keeps what was said before the first lease", nodesSayFirst},
	{"keeps what was said over a lapse of the lease", nodesLapse},
}

func (w *world) say(node, topic, status string) {
	w.Helper()
	if err := w.store.SetStatus(w.Context(), node, topic, status); err != nil {
		w.Fatalf("SetStatus %s %s: %v", node, topic, err)
	}
}

// statuses expects the live nodes to have exactly these statuses of the given topic.
func (w *world) statuses(topic string, want map[string]string) {
	w.Helper()
	got, err := w.store.Statuses(w.Context(), topic)
	if err != nil {
		w.Fatalf("Statuses %s: %v", topic, err)
	}
	w.same("Statuses "+topic, want, got)
}

func nodesLive(w *world) {
	w.statuses("t", map[string]string{})
	w.sweep(nodeA)
	w.pass(store.SweepEvery)
	w.doing(nodeB, store.Renew)
	w.sweep(nodeC)
	w.statuses("t", map[string]string{nodeA: "", nodeB: "", nodeC: ""})
	w.leave(nodeC)
	w.pass(store.Lease - store.SweepEvery - time.Millisecond)
	w.statuses("t", map[string]string{nodeA: "", nodeB: ""})
	w.pass(time.Millisecond)
	w.statuses("t", map[string]string{nodeB: ""})
	w.pass(store.SweepEvery)
	w.statuses("t", map[string]string{})
}

func nodesSay(w *world) {
	w.sweep(nodeA)
	w.sweep(nodeB)
	w.say(nodeA, "t", "1")
	w.say(nodeA, "u", "other")
	w.say(nodeB, "t", "7")
	w.say(nodeA, "t", "a b\n2")
	w.statuses("t", map[string]string{nodeA: "a b\n2", nodeB: "7"})
	w.statuses("u", map[string]string{nodeA: "other", nodeB: ""})
	for range 40 { // the statuses stay as long as the nodes sweep
		w.pass(store.Lease - time.Millisecond)
		w.sweep(nodeA)
		w.sweep(nodeB)
	}
	w.statuses("t", map[string]string{nodeA: "a b\n2", nodeB: "7"})
	w.say(nodeB, "t", "")
	w.leave(nodeA)
	w.statuses("t", map[string]string{nodeB: ""})
}

func nodesSayFirst(w *world) {
	w.say(nodeA, "t", "1")
	w.sweep(nodeB)
	w.statuses("t", map[string]string{nodeB: ""})
	w.sweep(nodeA)
	w.statuses("t", map[string]string{nodeA: "1", nodeB: ""})
}

func nodesLapse(w *world) {
	w.sweep(nodeA)
	w.say(nodeA, "t", "1")
	w.pass(10 * store.Lease)
	w.sweep(nodeB)
	w.statuses("t", map[string]string{nodeB: ""})
	w.sweep(nodeA)
	w.statuses("t", map[string]string{nodeA: "1", nodeB: ""})
}
