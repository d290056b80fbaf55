package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"refresher/internal/session"
	"refresher/internal/store"
)

var acquireChecks = []check{
	{"of an unknown session", acquireUnknown},
	{"gives an epoch above all that is known", acquireRaisesEpoch},
	{"makes the node its owner", acquireMakesOwner},
	{"in a row gives each its own epoch", acquireInARow},
	{"at once gives each its own epoch", acquireAtOnce},
	{"lets the new owner's first write count", acquireFirstWrite},
	{"shuts the owner before out", acquireShutsOut},
	{"is refused to keys older than one that was shown", acquireOlderKey},
	{"is refused after the end", acquireEnded},
	{"opens one that expired", acquireExpired},
	{"gives the node the time to see to it", acquireGivesTime},
}

func acquireUnknown(w *world) {
	for _, epoch := range []uint64{0, 1, 9, 10, 1 << 40} {
		id := w.id()
		for _, attach := range []bool{true, false} {
			held := w.acquire(store.AcquireRequest{Session: id, Epoch: epoch, Node: nodeA, Attach: attach})
			w.same("Acquire of an unknown session", store.Acquired{Epoch: epoch + 1}, held)
		}
	}
	// A sweep finds nothing to claim.
	w.pass(time.Hour)
	w.handed(nodeB)
}

func acquireRaisesEpoch(w *world) {
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
			held := w.acquire(store.AcquireRequest{Session: id, Epoch: test.shown, Node: nodeB, Attach: true})
			w.same("Acquire", store.Acquired{Epoch: test.want, Known: true, Record: r}, held)
		})
	}
}

// whileOpen ignores fields of an earlier state of the session, which stores may keep or
// clear.
var whileOpen = cmpopts.IgnoreFields(session.Record{}, "Reason", "DetachedAt")

func acquireMakesOwner(w *world) {
	for _, attach := range []bool{true, false} {
		for _, s := range []stage{proven, attached, detached, expired} {
			for _, shown := range []uint64{9, 10, 11} {
				r := w.record(w.id(), nodeA)
				r.Epoch, r.Version = 10, 12
				w.become(&r, s)
				r.Proven = 9
				w.saved(r)
				first := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: shown, Node: nodeB, Attach: attach})

				want := r
				want.Epoch, want.Proven = max(10, shown)+1, shown
				want.Node, want.Version, want.State = nodeB, 0, session.Detached
				if attach {
					want.State = session.Attached
				}
				second := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: first.Epoch, Node: nodeC, Attach: true})
				w.same("what the store holds after an Acquire", store.Acquired{Epoch: first.Epoch + 1, Known: true, Record: want}, second, whileOpen)
			}
		}
	}
}

func acquireInARow(w *world) {
	r := w.stored(w.record(w.id(), nodeA))
	for i := range uint64(12) {
		node := []string{nodeA, nodeB, nodeC}[i%3]
		if held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: node, Attach: i%2 == 0}); held.Epoch != r.Epoch+i+1 {
			w.Fatalf("Acquire %d with the same key gives epoch %d, want %d", i+1, held.Epoch, r.Epoch+i+1)
		}
	}
}

func acquireAtOnce(w *world) {
	const hands = 8
	r := w.stored(w.record(w.id(), nodeA))
	var epochs [hands]uint64
	var errs [hands]error
	var wait sync.WaitGroup
	for i := range hands {
		wait.Go(func() {
			var held store.Acquired
			held, errs[i] = w.store.Acquire(w.Context(), store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: []string{nodeA, nodeB}[i%2], Attach: true})
			epochs[i] = held.Epoch
		})
	}
	wait.Wait()
	seen := make(map[uint64]bool)
	for i := range hands {
		if errs[i] != nil {
			w.Fatalf("Acquire: %v", errs[i])
		}
		seen[epochs[i]] = true
	}
	for i := range uint64(hands) {
		if !seen[r.Epoch+i+1] {
			w.Errorf("%d Acquires at once give the epochs %d, none of them %d", hands, epochs, r.Epoch+i+1)
		}
	}
}

func acquireFirstWrite(w *world) {
	for _, node := range []string{nodeA, nodeB} {
		r := w.record(w.id(), nodeA)
		r.Version = 12
		w.saved(r)
		held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: node, Attach: true})
		next := r
		next.Node, next.Epoch, next.Version, next.Seq = node, held.Epoch, 1, 2
		w.saved(next)
		w.holds(&next)
	}
}

func acquireShutsOut(w *world) {
	for _, test := range []struct {
		attach bool
		want   store.Action
	}{{true, store.CloseSuperseded}, {false, store.Release}} {
		r := w.stored(w.record(w.id(), nodeA))
		w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: test.attach})
		r.Version++
		w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: test.want})
	}
}

// superseded returns the ending with which old resume keys of a session are refused.
func superseded(r *store.Record) session.Ending {
	return session.Ending{Reason: session.EndSuperseded, AccessEndsAt: r.ExpiresAt}
}

func acquireOlderKey(w *world) {
	r := w.record(w.id(), nodeA)
	r.Epoch, r.Proven = 12, 10
	w.saved(r)
	for _, epoch := range []uint64{0, 1, 9} {
		w.refused(store.AcquireRequest{Session: r.Session, Epoch: epoch, Node: nodeB, Attach: true}, superseded(&r))
	}
	// The refused calls of Acquire changed nothing. A newer key is accepted, and from then on older
	// keys are refused.
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 11, Node: nodeB, Attach: true})
	w.same("Acquire with a newer key", store.Acquired{Epoch: 13, Known: true, Record: r}, held)
	w.refused(store.AcquireRequest{Session: r.Session, Epoch: 10, Node: nodeA, Attach: true}, superseded(&r))
	w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 11, Node: nodeA, Attach: true})
	// An older resume key is also refused if the session has expired.
	over := w.record(w.id(), nodeA)
	over.Epoch = 2
	w.become(&over, expired)
	w.saved(over)
	w.refused(store.AcquireRequest{Session: over.Session, Epoch: 1, Node: nodeB, Attach: true}, superseded(&over))
}

func acquireEnded(w *world) {
	for _, reason := range []session.EndReason{session.EndLeft, session.EndRevoked, session.EndDenied} {
		for _, s := range []stage{ended, tombstone} {
			r := w.record(w.id(), nodeA)
			r.Epoch = 10
			w.become(&r, s)
			r.Reason = reason
			w.saved(r)
			for _, epoch := range []uint64{1, 9, 10, 11, highEpoch} {
				w.refused(store.AcquireRequest{Session: r.Session, Epoch: epoch, Node: nodeA, Attach: true}, r.Ending())
				w.refused(store.AcquireRequest{Session: r.Session, Epoch: epoch, Node: nodeB, Attach: false}, r.Ending())
			}
		}
	}
}

func acquireExpired(w *world) {
	r := w.stored(w.at(expired))
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	w.same("Acquire of one that expired", store.Acquired{Epoch: r.Epoch + 1, Known: true, Record: r}, held)
	// The previous owner can no longer save that the back end has acknowledged the session's end.
	r.Version++
	r.Delivered |= store.DeliveredEnd
	w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.CloseSuperseded})
	next := w.record(r.Session, nodeB)
	next.Epoch = held.Epoch
	w.saved(next)
	w.holds(&next)
}

func acquireGivesTime(w *world) {
	r := w.stored(w.overdue(w.id()))
	w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	w.handed(nodeC)
	w.pass(store.Lease + store.Slack - time.Millisecond)
	w.handed(nodeC)
	w.pass(time.Millisecond)
	w.handed(nodeC, r.Session) // node C may claim the session: node B never saved it, and the lease of node B has expired
}
