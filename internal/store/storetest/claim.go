package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"refresher/internal/session"
	"refresher/internal/store"
)

var claimChecks = []check{
	{"hands the session over whole", claimsWhole},
	{"makes the sweeper the owner", claimsOwner},
	{"lets an owner take back what it has a connection for", claimsFromLiving},
	{"lets the claimer's writes count", claimsWrites},
	{"is not repeated while the claimer lives", claimsOnce},
	{"is repeated when the claimer dies", claimsAgain},
	{"hands the owner back what it lost sight of", claimsOwn},
	{"leaves the session's keys alone", claimsKeys},
}

// afterClaim ignores the version after a claim: stores may keep the version of the
// previous owner, or reset it.
var afterClaim = cmpopts.IgnoreFields(store.Record{}, "Version")

func claimsWhole(w *world) {
	records := w.samples()
	for i := range records {
		records[i].Due = session.MilliOf(w.after(-store.Slack))
	}
	w.saved(records...)
	found := make(map[string]store.Record)
	for _, r := range w.sweep(nodeB) {
		found[r.Session] = r
	}
	for _, r := range records {
		r.Node = nodeB
		if r.State == session.Attached {
			r.State = session.Detached // the session's node has died, and the connection with it
		}
		w.same("what was handed over of "+r.Session, r, found[r.Session], afterClaim)
	}
}

func claimsOwner(w *world) {
	r := w.stored(w.overdue(w.id()))
	w.handed(nodeB, r.Session)
	// The record that the previous owner saves does not replace the record of node B.
	r.Version++
	w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.Release})
	r.Node = nodeB
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeC, Attach: true})
	w.same("what is held of a claimed session", store.Acquired{Epoch: r.Epoch + 1, Known: true, Record: r}, held, afterClaim)
}

// claimsFromLiving: an owner that was cut off only for a while becomes the owner again.
func claimsFromLiving(w *world) {
	r := w.at(proven)
	r.Due = session.MilliOf(w.after(-store.Slack))
	w.saved(r)
	w.handed(nodeB, r.Session)
	w.next(&r)
	w.holds(&r)
}

func claimsWrites(w *world) {
	r := w.overdue(w.id())
	r.Version = 12
	w.saved(r)
	claimed := w.sweep(nodeB)
	if len(claimed) != 1 {
		w.Fatalf("handed over %q, want %q", ids(claimed), r.Session)
	}
	next := claimed[0]
	next.Version++
	next.TokensExpired = true
	next.Due = session.MilliOf(w.after(time.Minute))
	w.saved(next)
	w.pass(time.Minute + store.Slack - time.Millisecond)
	w.handed(nodeC)
	w.pass(time.Millisecond)
	w.handed(nodeC, r.Session)
	next.Node = nodeC
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeA, Attach: true})
	w.same("what the claimer wrote", store.Acquired{Epoch: r.Epoch + 1, Known: true, Record: next}, held, afterClaim)
}

func claimsOnce(w *world) {
	r := w.stored(w.overdue(w.id()))
	w.handed(nodeB, r.Session)
	for range 40 {
		w.pass(store.SweepEvery)
		w.sweep(nodeB)
		w.handed(nodeC)
	}
}

func claimsAgain(w *world) {
	r := w.stored(w.overdue(w.id()))
	w.handed(nodeB, r.Session)
	w.pass(store.Lease - time.Millisecond)
	w.handed(nodeC)
	w.pass(time.Millisecond)
	w.handedWithin(store.Lease+store.Slack+store.SweepEvery, nodeC, r.Session)
}

func claimsOwn(w *world) {
	w.handed(nodeA)
	r := w.stored(w.overdue(w.id()))
	w.handed(nodeA, r.Session)
	w.handed(nodeA) // a second sweep returns nothing, since node A has until the new due time to renew the session
	// Node A is alive, and does not renew the session.
	w.pass(store.SweepEvery)
	w.handedWithin(store.Lease+store.Slack+store.SweepEvery, nodeA, r.Session)
	// After node A has saved the session, sweeps no longer return it.
	r.Version += 2
	r.Due = session.MilliOf(w.after(time.Hour))
	w.saved(r)
	for range 30 {
		w.pass(store.SweepEvery)
		w.handed(nodeA)
	}
}

// claimsKeys: a claim changes no epoch, so the client's resume key stays valid.
func claimsKeys(w *world) {
	r := w.overdue(w.id())
	r.Epoch, r.Proven = 12, 10
	w.saved(r)
	w.handed(nodeB, r.Session)
	if held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: 10, Node: nodeC, Attach: true}); held.Epoch != 13 {
		w.Errorf("after a claim, an Acquire gives epoch %d, want 13", held.Epoch)
	}
}
