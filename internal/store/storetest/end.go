package storetest

import (
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

var endChecks = []check{
	{"what expired and was told leaves nothing", endRemoves},
	{"what was ended on purpose and told leaves a tombstone", endLeavesTombstone},
	{"a tombstone is kept for as long as its keys must stay dead", tombstoneExpires},
	{"untold ends are handed over until they are told", endHandedOverUntilDelivered},
	{"a tombstone is finished by its owner alone", endFinishedByOwner},
}

func endRemoves(w *world) {
	r := w.stored(w.record(w.id(), nodeA))
	w.turns(&r, removed)
	w.unknown(r.Session)
	// An expired session that the store never had leaves no record either.
	other := w.stored(w.at(removed))
	w.unknown(other.Session)
	w.pass(time.Hour)
	w.handed(nodeB)
	// The session's resume key can open the session again.
	again := w.record(r.Session, nodeB)
	w.saved(again)
	w.holds(&again)
}

func endLeavesTombstone(w *world) {
	for _, known := range []bool{true, false} {
		r := w.record(w.id(), nodeA)
		if known {
			w.saved(r)
		}
		w.turns(&r, tombstone)
		w.holds(&r)
		again := w.record(r.Session, nodeB)
		again.Epoch = 10
		w.wantOutcome(&again, w.save(again)[0], store.Outcome{Action: store.EndSession, Ending: r.Ending()})
	}
	w.pass(time.Hour)
	w.handed(nodeB) // a sweep finds nothing to claim
	w.handed(nodeA)
}

func tombstoneExpires(w *world) {
	const hour, day = 3600, 86_400
	for _, test := range []struct {
		name                    string
		reason                  session.EndReason
		expiresIn, until, after session.UnixSec // seconds from now
	}{
		{"revoked", session.EndRevoked, hour / 2, 2 * day, 2 * day},
		{"denied", session.EndDenied, hour / 2, 2 * day, 2 * day},
		{"left", session.EndLeft, hour / 2, 2 * day, hour},
		{"left with tokens that work for longer", session.EndLeft, 3 * hour, 2 * day, 3 * hour},
		{"left shortly before its keys are worth nothing", session.EndLeft, hour / 4, hour / 2, hour / 2},
	} {
		id := w.id()
		w.Run(test.name, func(t *testing.T) {
			w := w.in(t)
			r := w.record(id, nodeA)
			now := session.SecOf(w.clock.now())
			r.ExpiresAt, r.Terms.Until = now+test.expiresIn, now+test.until
			w.become(&r, tombstone)
			r.Reason = test.reason
			w.saved(r)

			w.pass((now + test.after).Time().Sub(w.clock.now()) - time.Millisecond)
			w.sweep(nodeA)
			w.holds(&r)
			w.pass(time.Millisecond)
			w.sweep(nodeA) // the sweep is for stores that remove expired tombstones in sweeps
			w.unknown(id)
			again := w.record(id, nodeB)
			w.saved(again)
			w.holds(&again)
		})
	}
}

func endHandedOverUntilDelivered(w *world) {
	for _, s := range []stage{expired, ended} {
		r := w.stored(w.record(w.id(), nodeA))
		w.turns(&r, s)
		w.pass(store.Slack)
		w.handed(nodeB, r.Session)
		w.pass(store.Lease) // node B dies before it has delivered the session's end to the back end
		claimed := w.handedWithin(store.Slack+store.SweepEvery, nodeC, r.Session)
		if s == ended {
			w.holds(&r)
		}
		claimed.Version++
		claimed.Delivered |= store.DeliveredEnd
		w.saved(claimed)
		w.pass(time.Hour)
		w.handed(nodeB)
		if s == expired {
			w.unknown(r.Session)
		} else {
			w.holds(&claimed)
		}
	}
}

func endFinishedByOwner(w *world) {
	r := w.stored(w.at(ended))
	dead := store.Outcome{Action: store.EndSession, Ending: r.Ending()}
	told := r
	told.Delivered |= store.DeliveredEnd
	// A node that is not the owner cannot save that the back end has acknowledged the session's
	// end.
	other := told
	other.Node = nodeB
	w.wantOutcome(&other, w.save(other)[0], dead)
	w.pass(store.Slack)
	w.handed(nodeA, r.Session)
	// The owner can save that the back end has acknowledged the end, even twice.
	w.next(&told)
	w.saved(told)
	w.wantOutcome(&other, w.save(other)[0], dead)
	w.pass(time.Hour)
	w.handed(nodeA)
	w.holds(&told)
}
