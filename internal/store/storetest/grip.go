package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"refresher/internal/session"
	"refresher/internal/store"
)

var gripChecks = []check{
	{"of an unknown session", gripsUnknown},
	{"gives an epoch above all that is known", gripsAbove},
	{"makes the node its owner", gripsOwner},
	{"in a row gives each its own epoch", gripsInARow},
	{"at once gives each its own epoch", gripsAtOnce},
	{"lets the new owner's first write count", gripsFirstWrite},
	{"shuts the owner before out", gripsShutOut},
	{"is refused to keys older than one that was shown", gripsProven},
	{"is refused after the end", gripsEnded},
	{"opens one that expired", gripsExpired},
	{"gives the node the time to see to it", gripsTime},
}

func gripsUnknown(w *world) {
	for _, epoch := range []uint64{0, 1, 9, 10, 1 << 40} {
		id := w.id()
		for _, attach := range []bool{true, false} {
			held := w.grip(store.Grip{Session: id, Epoch: epoch, Node: nodeA, Attach: attach})
			w.same("Grip of an unknown session", store.Held{Epoch: epoch + 1}, held)
		}
	}
	// There is nothing to be taken over.
	w.pass(time.Hour)
	w.handed(nodeB)
}

func gripsAbove(w *world) {
	for _, test := range []struct {
		name                string
		stored, shown, want uint64
	}{
		{"its newest key", 9, 9, 10},
		{"a newer key than the store knows of", 9, 10, 11},
		{"a much newer key", 9, 1000, 1001},
		{"an older key whose successor may be lost", 10, 9, 11},
	} {
		id := w.id()
		w.Run(test.name, func(t *testing.T) {
			w := w.in(t)
			r := w.record(id, nodeA)
			r.Epoch, r.Proven = test.stored, 9
			w.saved(r)
			held := w.grip(store.Grip{Session: id, Epoch: test.shown, Node: nodeB, Attach: true})
			w.same("Grip", store.Held{Epoch: test.want, Known: true, Record: r}, held)
		})
	}
}

// whileOpen leaves the choice to a store what it says of a state that is not
// that of the session any more.
var whileOpen = cmpopts.IgnoreFields(session.Record{}, "Reason", "DetachedAt")

func gripsOwner(w *world) {
	for _, attach := range []bool{true, false} {
		for _, s := range []stage{proven, attached, detached, expired} {
			for _, shown := range []uint64{9, 10, 11} {
				r := w.record(w.id(), nodeA)
				r.Epoch, r.Rev = 10, 12
				w.become(&r, s)
				r.Proven = 9
				w.saved(r)
				first := w.grip(store.Grip{Session: r.Session, Epoch: shown, Node: nodeB, Attach: attach})

				want := r
				want.Epoch, want.Proven = max(10, shown)+1, shown
				want.Node, want.Rev, want.State = nodeB, 0, session.Detached
				if attach {
					want.State = session.Attached
				}
				second := w.grip(store.Grip{Session: r.Session, Epoch: first.Epoch, Node: nodeC, Attach: true})
				w.same("what the store holds after a Grip", store.Held{Epoch: first.Epoch + 1, Known: true, Record: want}, second, whileOpen)
			}
		}
	}
}

func gripsInARow(w *world) {
	r := w.record(w.id(), nodeA)
	w.saved(r)
	for i := range uint64(12) {
		node := []string{nodeA, nodeB, nodeC}[i%3]
		if held := w.grip(store.Grip{Session: r.Session, Epoch: r.Epoch, Node: node, Attach: i%2 == 0}); held.Epoch != r.Epoch+i+1 {
			w.Fatalf("Grip %d with the same key gives epoch %d, want %d", i+1, held.Epoch, r.Epoch+i+1)
		}
	}
}

func gripsAtOnce(w *world) {
	const hands = 8
	r := w.record(w.id(), nodeA)
	w.saved(r)
	var epochs [hands]uint64
	var errs [hands]error
	var wait sync.WaitGroup
	for i := range hands {
		wait.Go(func() {
			var held store.Held
			held, errs[i] = w.store.Grip(w.Context(), store.Grip{Session: r.Session, Epoch: r.Epoch, Node: []string{nodeA, nodeB}[i%2], Attach: true})
			epochs[i] = held.Epoch
		})
	}
	wait.Wait()
	seen := make(map[uint64]bool)
	for i := range hands {
		if errs[i] != nil {
			w.Fatalf("Grip: %v", errs[i])
		}
		seen[epochs[i]] = true
	}
	for i := range uint64(hands) {
		if !seen[r.Epoch+i+1] {
			w.Errorf("%d Grips at once give the epochs %d, none of them %d", hands, epochs, r.Epoch+i+1)
		}
	}
}

func gripsFirstWrite(w *world) {
	for _, node := range []string{nodeA, nodeB} {
		r := w.record(w.id(), nodeA)
		r.Rev = 12
		w.saved(r)
		held := w.grip(store.Grip{Session: r.Session, Epoch: r.Epoch, Node: node, Attach: true})
		next := r
		next.Node, next.Epoch, next.Rev, next.Seq = node, held.Epoch, 1, 2
		w.saved(next)
		w.holds(&next)
	}
}

func gripsShutOut(w *world) {
	for _, test := range []struct {
		attach bool
		want   store.Verdict
	}{{true, store.Superseded}, {false, store.Moved}} {
		r := w.record(w.id(), nodeA)
		w.saved(r)
		w.grip(store.Grip{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: test.attach})
		r.Rev++
		w.wantOutcome(&r, w.save(r)[0], store.Outcome{Verdict: test.want})
	}
}

// superseded is the ending that old keys of a session are refused with.
func superseded(r *store.Record) session.Ending {
	return session.Ending{Reason: session.EndSuperseded, AccessEndsAt: r.ExpiresAt}
}

func gripsProven(w *world) {
	r := w.record(w.id(), nodeA)
	r.Epoch, r.Proven = 12, 10
	w.saved(r)
	for _, epoch := range []uint64{0, 1, 9} {
		w.refused(store.Grip{Session: r.Session, Epoch: epoch, Node: nodeB, Attach: true}, superseded(&r))
	}
	// What was refused changed nothing, and what is shown counts at once.
	held := w.grip(store.Grip{Session: r.Session, Epoch: 11, Node: nodeB, Attach: true})
	w.same("Grip with a newer key", store.Held{Epoch: 13, Known: true, Record: r}, held)
	w.refused(store.Grip{Session: r.Session, Epoch: 10, Node: nodeA, Attach: true}, superseded(&r))
	w.grip(store.Grip{Session: r.Session, Epoch: 11, Node: nodeA, Attach: true})
	// It holds for one that expired, too.
	over := w.record(w.id(), nodeA)
	over.Epoch = 2
	w.become(&over, expired)
	w.saved(over)
	w.refused(store.Grip{Session: over.Session, Epoch: 1, Node: nodeB, Attach: true}, superseded(&over))
}

func gripsEnded(w *world) {
	for _, reason := range []session.EndReason{session.EndLeft, session.EndRevoked, session.EndDenied} {
		for _, s := range []stage{ended, buried} {
			r := w.record(w.id(), nodeA)
			r.Epoch = 10
			w.become(&r, s)
			r.Reason = reason
			w.saved(r)
			for _, epoch := range []uint64{1, 9, 10, 11, highEpoch} {
				w.refused(store.Grip{Session: r.Session, Epoch: epoch, Node: nodeA, Attach: true}, r.Ending())
				w.refused(store.Grip{Session: r.Session, Epoch: epoch, Node: nodeB, Attach: false}, r.Ending())
			}
		}
	}
}

func gripsExpired(w *world) {
	r := w.record(w.id(), nodeA)
	w.become(&r, expired)
	w.saved(r)
	held := w.grip(store.Grip{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	w.same("Grip of one that expired", store.Held{Epoch: r.Epoch + 1, Known: true, Record: r}, held)
	// The owner before cannot finish it any more.
	r.Rev++
	r.Told |= store.ToldEnd
	w.wantOutcome(&r, w.save(r)[0], store.Outcome{Verdict: store.Superseded})
	next := w.record(r.Session, nodeB)
	next.Epoch = held.Epoch
	w.saved(next)
	w.holds(&next)
}

func gripsTime(w *world) {
	r := w.overdue(w.id())
	w.saved(r)
	w.grip(store.Grip{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	w.handed(nodeC)
	w.pass(store.Lease + store.Slack - time.Millisecond)
	w.handed(nodeC)
	w.pass(time.Millisecond)
	w.handed(nodeC, r.Session) // B was never heard of again
}
