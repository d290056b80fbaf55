package storetest

import (
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

var wishChecks = []check{
	{"writes a role into the record", wishesRole},
	{"asks for fresh tokens and keeps the role", wishesRenewal},
	{"of two operators, the later has the higher version", wishesInARow},
	{"stands against its owner's saves until the owner has acted on it", wishesUntilActedOn},
	{"loses to a later one that was made on the owner", wishesMadeOnOwner},
	{"reaches the owner from a node that lost the session while the store was away", wishesOfLoser},
	{"goes to whoever acquires the session", wishesAcquired},
	{"goes to whoever claims the session", wishesClaimed},
	{"outlives an expiry", wishesExpired},
	{"ends the session", wishesEnd},
	{"counts as the end of a session whose client leaves meanwhile", wishesEndOverOther},
	{"is finished by others when the owner is dead", wishesEndOfDead},
	{"notifies the owner", wishesNotify},
	{"is refused where there is no open session", wishesNowhere},
}

// publishing returns the record of a session that has the role subscriber and may become
// publisher.
func (w *world) publishing(id string) store.Record {
	r := w.record(id, nodeA)
	r.Identity.RTC = &session.RTC{Channel: "room", UID: 7}
	r.Terms.MayPublish = true
	return r
}

// wish writes an operator's change (a wish) into a session's record, and expects no
// error.
func (w *world) wish(id string, kind store.WishKind, role session.Role) store.Record {
	w.Helper()
	r, err := w.store.Wish(w.Context(), store.Wish{Session: id, Kind: kind, Role: role, At: session.MilliOf(w.clock.now())})
	if err != nil {
		w.Fatalf("Wish: %v", err)
	}
	return r
}

// wished returns r with a pending wish (an operator's change) for another role.
func wished(r store.Record, role session.Role, version session.UnixMilli) store.Record {
	r.Identity.RTC = &session.RTC{Channel: r.Identity.RTC.Channel, UID: r.Identity.RTC.UID, Role: role}
	r.WishVersion, r.WishPending = version, true
	return r
}

// shows expects Get to return r.
func (w *world) shows(r *store.Record) {
	w.Helper()
	got, _ := w.get(r.Session)
	w.same("Get", *r, got)
}

func wishesRole(w *world) {
	r := w.stored(w.publishing(w.id()))
	want := wished(r, session.Publisher, session.MilliOf(w.clock.now()))
	w.same("Wish", want, w.wish(r.Session, store.WishRole, session.Publisher))
	w.shows(&want)
}

func wishesRenewal(w *world) {
	r := w.publishing(w.id())
	r.Identity.RTC.Role = session.Publisher
	w.saved(r)
	want := wished(r, session.Publisher, session.MilliOf(w.clock.now()))
	w.same("Wish", want, w.wish(r.Session, store.WishRenew, session.Subscriber))
	// A wish for fresh tokens is also possible for a session without an RTC role.
	r = w.record(w.id(), nodeA)
	w.saved(r)
	r.WishVersion, r.WishPending = session.MilliOf(w.clock.now()), true
	w.same("Wish", r, w.wish(r.Session, store.WishRenew, session.Publisher))
	w.same("Wish", r.Identity, w.wish(r.Session, store.WishRole, session.Publisher).Identity)
	r.WishVersion++
	w.shows(&r)
}

func wishesInARow(w *world) {
	r := w.stored(w.publishing(w.id()))
	now := session.MilliOf(w.clock.now())
	for i, role := range []session.Role{session.Publisher, session.Subscriber, session.Subscriber, session.Publisher} {
		want := wished(r, role, now+session.UnixMilli(i))
		w.same("Wish", want, w.wish(r.Session, store.WishRole, role))
	}
	w.pass(-time.Hour) // the next wish comes through a node whose clock is an hour behind
	want := wished(r, session.Subscriber, now+4)
	w.same("Wish", want, w.wish(r.Session, store.WishRole, session.Subscriber))
	w.pass(2 * time.Hour)
	want = wished(r, session.Publisher, session.MilliOf(w.clock.now()))
	w.same("Wish", want, w.wish(r.Session, store.WishRole, session.Publisher))
}

func wishesUntilActedOn(w *world) {
	r := w.stored(w.publishing(w.id()))
	given := w.wish(r.Session, store.WishRole, session.Publisher)
	register := store.Register{Version: given.WishVersion, Role: session.Publisher}
	for range 2 {
		r.Version, r.Seq = r.Version+1, r.Seq+1 // the owner saves a renewal, without knowing of the wish yet
		w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.Done, Wish: register})
		want := wished(r, register.Role, register.Version)
		w.shows(&want)
	}
	late := r
	late.Version--
	w.wantOutcome(&late, w.save(late)[0], store.Outcome{Action: store.Done, Wish: register})
	// Now the owner has acted on the wish.
	r = wished(r, register.Role, register.Version)
	r.Version, r.WishPending = r.Version+1, false
	w.saved(r)
	w.shows(&r)
	w.next(&r)
	w.shows(&r)
	// A node that acquires the session without knowing of the wish gets it in the Outcome of its
	// first save, too.
	other := w.publishing(r.Session)
	other.Node, other.Epoch = nodeB, 5
	w.wantOutcome(&other, w.save(other)[0], store.Outcome{Action: store.Done, Wish: register})
	want := wished(other, register.Role, register.Version)
	want.WishPending = false
	w.shows(&want)
}

func wishesMadeOnOwner(w *world) {
	r := w.stored(w.publishing(w.id()))
	given := w.wish(r.Session, store.WishRole, session.Publisher)
	r.Version, r.WishVersion = r.Version+1, given.WishVersion+1 // the owner has applied a later change, to the role subscriber
	w.saved(r)
	w.shows(&r)
	again := w.wish(r.Session, store.WishRole, session.Publisher)
	if again.WishVersion != r.WishVersion+1 {
		w.Errorf("the next wish has version %d, want %d", again.WishVersion, r.WishVersion+1)
	}
}

func wishesOfLoser(w *world) {
	b := w.watch(nodeB)
	for _, ends := range []bool{false, true} {
		loser := w.publishing(w.id())
		loser.Identity.RTC.Role, loser.WishVersion = session.Publisher, session.MilliOf(w.clock.now())
		owner := w.publishing(loser.Session)
		owner.Node, owner.Epoch, owner.Proven = nodeB, loser.Epoch+1, loser.Epoch
		w.saved(owner)
		want := wished(owner, session.Publisher, loser.WishVersion)
		if ends {
			loser.State, loser.Reason, loser.Delivered = session.Ended, session.EndRevoked, loser.Delivered|store.DeliveredEnd
			want = owner
			want.State, want.Reason = session.Ended, session.EndRevoked
		}
		w.wantOutcome(&loser, w.save(loser)[0], store.Outcome{Action: store.CloseSuperseded})
		b.told(loser.Session)
		if ends {
			want = want.OnlyEnd()
		}
		w.shows(&want)
		// A wish in another node's record that is not newer than the wish in the owner's record
		// changes nothing.
		loser.State, loser.Reason, loser.Identity.RTC.Role = session.Attached, "", session.Subscriber
		if w.save(loser); !ends {
			w.shows(&want)
		}
		loser.WishVersion--
		w.save(loser)
		w.shows(&want)
	}
	w.quiet(b)
}

func wishesAcquired(w *world) {
	r := w.stored(w.publishing(w.id()))
	given := w.wish(r.Session, store.WishRole, session.Publisher)
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	w.same("Acquire", store.Acquired{Epoch: r.Epoch + 1, Known: true, Record: given}, held)
	if got, _ := w.get(r.Session); got.Register() != given.Register() || !got.WishPending {
		w.Errorf("after that, the record has %+v, pending %v", got.Register(), got.WishPending)
	}
	// The previous owner can no longer clear the pending wish; the new owner can.
	r.Version++
	w.save(r)
	if got, _ := w.get(r.Session); !got.WishPending {
		w.Error("an outdated record has cleared the wish")
	}
	next := given
	next.Node, next.Epoch, next.Version = nodeB, held.Epoch, 1
	w.saved(next)
	next.WishPending = false
	w.shows(&next)
}

func wishesClaimed(w *world) {
	r := w.publishing(w.id())
	r.Due = session.MilliOf(w.after(-store.Slack))
	w.saved(r)
	given := w.wish(r.Session, store.WishRole, session.Publisher)
	claimed := w.handedWithin(0, nodeB, r.Session)
	if claimed.Register() != given.Register() || !claimed.WishPending {
		w.Errorf("claimed with %+v, pending %v", claimed.Register(), claimed.WishPending)
	}
	w.next(&claimed)
	claimed.WishPending = false
	w.shows(&claimed)
}

func wishesExpired(w *world) {
	r := w.stored(w.publishing(w.id()))
	given := w.wish(r.Session, store.WishRole, session.Publisher)
	w.become(&r, expired)
	r.Version++
	w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.Done, Wish: given.Register()})
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	if held.Record.Register() != given.Register() {
		w.Errorf("it comes back with %+v, want %+v", held.Record.Register(), given.Register())
	}
}

func wishesEnd(w *world) {
	for _, s := range []stage{proven, attached, detached} {
		r := w.publishing(w.id())
		w.become(&r, s)
		w.saved(r)
		want := r
		want.State, want.Reason, want.Due = session.Ended, session.EndRevoked, session.MilliOf(w.clock.now())
		given := w.wish(r.Session, store.WishEnd, 0)
		if w.same("Wish", want, given); given.Due != want.Due {
			w.Errorf("due at %d, want %d", given.Due, want.Due)
		}
		w.holds(&want)
		end := want.OnlyEnd()
		w.shows(&end)
		// If another node saves the session, the answer is EndSession, as after any end. If the
		// owner saves it, the answer is FinishEnd.
		other := r
		other.Node, other.Epoch = nodeB, r.Epoch+1
		w.wantOutcome(&other, w.save(other)[0], store.Outcome{Action: store.EndSession, Ending: want.Ending()})
		for range 2 { // the owner saves the same record again, and then the next version
			w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.FinishEnd, Ending: want.Ending()})
			r.Version++
		}
		r.State, r.Reason, r.Delivered = session.Ended, session.EndRevoked, r.Delivered|store.DeliveredEnd
		w.saved(r)
		w.wantOutcome(&other, w.save(other)[0], store.Outcome{Action: store.EndSession, Ending: want.Ending()})
	}
	w.pass(time.Hour)
	w.handed(nodeA) // the session's end needs no more work, so a sweep does not return the session
}

func wishesEndOverOther(w *world) {
	for _, s := range []stage{ended, tombstone} {
		r := w.stored(w.record(w.id(), nodeA))
		given := w.wish(r.Session, store.WishEnd, 0)
		w.become(&r, s)
		r.Version, r.Reason = r.Version+1, session.EndLeft
		w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.FinishEnd, Ending: given.Ending()})
		w.become(&r, tombstone)
		r.Version, r.Reason = r.Version+1, session.EndRevoked
		w.saved(r)
		w.holds(&r)
		late := r
		late.Reason = session.EndLeft
		w.wantOutcome(&late, w.save(late)[0], store.Outcome{Action: store.EndSession, Ending: r.Ending()})
	}
}

func wishesEndOfDead(w *world) {
	r := w.stored(w.publishing(w.id()))
	w.handed(nodeA) // this sweep gives a lease to node A, which owns the session
	given := w.wish(r.Session, store.WishEnd, 0)
	w.pass(store.Slack)
	w.handed(nodeB)
	w.pass(store.Lease)
	claimed := w.handedWithin(store.Slack+store.SweepEvery, nodeB, r.Session)
	if claimed.State != session.Ended || claimed.Reason != given.Reason || claimed.Delivered.Has(store.DeliveredEnd) {
		w.Errorf("claimed %+v", claimed)
	}
	// An owner that was only cut off for a while gets the answer that the session has ended.
	r.Version++
	w.wantOutcome(&r, w.save(r)[0], store.Outcome{Action: store.EndSession, Ending: given.Ending()})
}

func wishesNotify(w *world) {
	a, b := w.watch(nodeA), w.watch(nodeB)
	r := w.stored(w.publishing(w.id()))
	for _, kind := range []store.WishKind{store.WishRenew, store.WishRole, store.WishEnd} {
		w.wish(r.Session, kind, session.Publisher)
		a.told(r.Session)
	}
	w.quiet(a, b)
}

func wishesNowhere(w *world) {
	a := w.watch(nodeA)
	ids := []string{w.id()} // the id of a session that never existed
	var unfinished store.Record
	for _, s := range []stage{expired, ended, removed, tombstone} {
		r := w.stored(w.at(s))
		if ids = append(ids, r.Session); s == ended {
			unfinished = r
		}
	}
	for _, id := range ids {
		for _, kind := range []store.WishKind{store.WishRenew, store.WishRole, store.WishEnd} {
			if kind == store.WishEnd && id == unfinished.Session {
				if r := w.wish(id, kind, 0); r.Reason != session.EndRevoked || r.State != session.Ended || r.ExpiresAt != unfinished.ExpiresAt {
					w.Errorf("an end that is not delivered is %+v after another", r)
				}
				a.told(id)
				continue
			}
			r, err := w.store.Wish(w.Context(), store.Wish{Session: id, Kind: kind, At: session.MilliOf(w.clock.now())})
			if !errors.Is(err, store.ErrNoSession) || r != (store.Record{}) {
				w.Errorf("Wish %d of %s: %+v, %v", kind, id, r, err)
			}
		}
	}
	w.quiet(a)
}
