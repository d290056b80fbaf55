package storetest

import (
	"math"
	"reflect"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

var saveChecks = []check{
	{"comes back whole", savesWhole},
	{"gives the due time back", givesDueBack},
	{"the end comes back whole while it is untold", savesWholeEnds},
	{"a later write replaces all of it", savesLater},
	{"terms that an approval has shortened are written too", savesShortened},
	{"keeps what was saved, whatever the caller does with it", savesCopies},
	{"of nothing", savesNothing},
	{"of many gives outcomes in order", savesMany},
}

// samples returns records such that each field has a value other than zero in at least
// one of them. No session in them has ended on purpose, so that all can be acquired.
func (w *world) samples() []store.Record {
	now := w.clock.now()
	identities := []session.Identity{
		{
			RTC:  &session.RTC{Channel: `room "1" \ {a}:b`, UID: math.MaxUint32, Role: session.Publisher},
			RTM:  &session.RTM{UserID: "Ünï cøde, 日本"},
			Chat: &session.Chat{UserID: "chat-user"},
		},
		{RTC: &session.RTC{Channel: "account", Account: "a|b c", Role: session.Publisher}},
		{RTC: &session.RTC{Channel: "any uid"}},
		{RTM: &session.RTM{UserID: "42"}},
		{Chat: &session.Chat{UserID: "0"}},
		{RTC: &session.RTC{Channel: "two", UID: 1}, Chat: &session.Chat{UserID: "two"}},
	}
	var records []store.Record
	for i, id := range spread(16) {
		r := w.record(id, nodeA)
		r.App = Apps[i%2]
		if i%3 != 0 {
			r.Subject = `{subject} "of" ` + id
		}
		r.Identity = identities[i%len(identities)]
		r.Terms = session.Terms{TTL: time.Duration(10+i) * time.Second, Until: session.SecOf(now) + session.UnixSec(i)*86_400, MayPublish: i%2 == 1, Format: session.Format(i % 3)}
		r.Epoch, r.Version = uint64(7+i), uint64(i)*1_000_003
		w.become(&r, []stage{proven, attached, detached, expired}[i%4])
		// These are the highest seqs, so that a store that rounds large numbers fails.
		r.Seq, r.HeldSeq = session.MaxSeq-uint64(i), session.MaxSeq-uint64(2*i)
		r.ExpiresAt, r.HeldExpiresAt = session.SecOf(now)+session.UnixSec(1000*i), session.SecOf(now)-session.UnixSec(1000*i)
		r.IssuedAt, r.AckedAt, r.ApprovedAt = session.SecOf(now)-session.UnixSec(i), session.SecOf(now)-session.UnixSec(2*i), session.SecOf(now)+session.UnixSec(7*i)
		// The samples set each of these flags alone, and all together.
		r.Unreachable, r.TokensExpired, r.ExpiryReported, r.Fetched = i&1 != 0, i&2 != 0, i&4 != 0, i%3 == 1
		r.WishVersion = session.MilliOf(now) * session.UnixMilli(i&1)
		r.Certificate = session.Fingerprint(0xf00dfeed << (i % 4))
		r.Delivered = store.Delivered(i) & (store.DeliveredJoined | store.DeliveredUnreachable)
		r.Due = session.MilliOf(now) + session.UnixMilli(i)*123_457
		records = append(records, r)
	}
	// This record was made from a resume key alone, so nothing is known about the
	// session's tokens.
	bare := w.record("bare", nodeA)
	bare.Seq, bare.ExpiresAt, bare.HeldSeq, bare.HeldExpiresAt, bare.Delivered, bare.Proven, bare.Version = 0, 0, 0, 0, 0, 0, 0
	bare.IssuedAt, bare.AckedAt = 0, 0
	return append(records, bare)
}

func savesWhole(w *world) {
	records := w.samples()
	everyField(w, records)
	w.saved(records...)
	for _, r := range records {
		held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
		w.same("what came back of "+r.Session, store.Acquired{Epoch: r.Epoch + 1, Known: true, Record: r}, held)
	}
}

func savesShortened(w *world) {
	r := w.stored(w.record(w.id(), nodeA))
	r.Version, r.Terms.Until, r.TermsChanged = r.Version+1, r.Terms.Until-60, true
	w.saved(r)
	r.TermsChanged = false // TermsChanged is an argument of Save and is not stored
	w.holds(&r)
}

// givesDueBack checks the due time of returned records: it is the time that was saved, or
// that an Acquire has set. After a claim each store may choose the due time.
func givesDueBack(w *world) {
	for _, r := range w.samples() {
		w.saved(r)
		due := func(want session.UnixMilli) {
			if got, _ := w.get(r.Session); got.Due != want && !got.HasEnded() {
				w.Fatalf("%s comes back due at %d ms, want %d", r.Session, got.Due, want)
			}
		}
		due(r.Due)
		w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
		due(session.MilliOf(w.after(store.Lease)))
	}
}

// everyField fails if a field of the records is empty in all samples, so that a new field
// cannot stay untested.
func everyField(w *world, records []store.Record) {
	w.Helper()
	set := make(map[string]bool)
	for i := range records {
		lookAtFields(reflect.ValueOf(records[i]), "", set)
	}
	delete(set, " WishPending") // a Save clears WishPending, so no sample can have it set
	delete(set, " TermsChanged")
	for name, is := range set {
		if !is {
			w.Errorf("no sample has a%s: add one, so that stores are known to keep it", name)
		}
	}
}

// lookAtFields notes which fields of a struct are set.
func lookAtFields(v reflect.Value, name string, set map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v = reflect.Zero(v.Type().Elem())
		} else {
			v = v.Elem()
		}
		lookAtFields(v, name, set)
	case reflect.Struct:
		for field, value := range v.Fields() {
			lookAtFields(value, name+" "+field.Name, set)
		}
	default:
		set[name] = set[name] || !v.IsZero()
	}
}

func savesWholeEnds(w *world) {
	records := w.samples()
	for i := range records {
		r := &records[i]
		w.become(r, ended)
		r.Reason = []session.EndReason{session.EndLeft, session.EndRevoked, session.EndDenied, session.EndExpired}[i%4]
	}
	w.saved(records...)
	w.pass(store.Slack)
	swept := w.sweep(nodeB)
	found := make(map[string]store.Record)
	for _, r := range swept {
		found[r.Session] = r
	}
	for _, r := range records {
		got := found[r.Session]
		w.same("what came back of "+r.Session, r.Record, got.Record)
		w.same("what "+r.Session+" was told of", r.Delivered, got.Delivered)
	}
	if len(swept) != len(records) {
		w.Errorf("%d came back of %d", len(swept), len(records))
	}
}

func savesLater(w *world) {
	first := w.samples()
	w.saved(first...)
	w.pass(time.Second)
	second := w.samples()
	for i := range second {
		r, other := &second[i], &first[(i+5)%len(first)]
		// A session keeps the grant of its join, except for the role, so the second record has
		// the same grant as the first.
		key := first[i].ResumeClaims
		key.ApprovedAt = other.ApprovedAt
		if rtc := key.Identity.RTC; rtc != nil {
			key.Identity.RTC = &session.RTC{Channel: rtc.Channel, UID: rtc.UID, Account: rtc.Account, Role: 1 - rtc.Role}
		}
		version := first[i].Version + 2
		*r = *other
		r.ResumeClaims, r.Version = key, version
		r.Proven = min(r.Proven, r.Epoch)
		r.WishVersion = first[i].WishVersion + session.UnixMilli(i%2)
	}
	w.saved(second...)
	for i := range second {
		w.holds(&second[i])
	}
}

func savesCopies(w *world) {
	r := w.record(w.id(), nodeA)
	r.Identity.RTC = &session.RTC{Channel: "room", UID: 1}
	want := w.record(r.Session, nodeA)
	want.Identity.RTC = &session.RTC{Channel: "room", UID: 1}
	w.saved(r)
	r.Identity.RTC.Role = session.Publisher
	got, _ := w.get(r.Session)
	w.same("what is kept", want, got)
	got.Identity.RTC.Role, got.Identity.RTM.UserID = session.Publisher, "another"
	listed, _ := w.list(store.ListQuery{Limit: 10})
	w.same("what is kept after that", []store.Record{want}, listed)
	listed[0].Identity.RTC.Role = session.Publisher
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeA})
	w.same("what is held", want, held.Record)
	held.Record.Identity.RTC.Role = session.Publisher
	w.pass(store.Lease + store.Slack)
	claimed := w.handedWithin(0, nodeA, r.Session)
	w.same("what is claimed", want.Identity, claimed.Identity)
	claimed.Identity.RTC.Role = session.Publisher
	got, _ = w.get(r.Session)
	w.same("what is kept in the end", want.Identity, got.Identity)
}

func savesNothing(w *world) {
	for _, none := range [][]store.Record{nil, {}} {
		if outcomes, err := w.store.Save(w.Context(), none); len(outcomes) > 0 || err != nil {
			w.Errorf("Save of nothing gave %v, %v", outcomes, err)
		}
	}
}

func savesMany(w *world) {
	const many = 1000
	var before, now []store.Record
	var want []store.Outcome
	for i, id := range spread(many) {
		old, r := w.record(id, nodeA), w.record(id, nodeB)
		old.Epoch = 2
		old.ExpiresAt += session.UnixSec(i) // makes all endings different
		outcome := store.Outcome{Action: store.Done}
		switch i % 5 {
		case 0: // the store has no record of this session yet
			now, want = append(now, r), append(want, outcome)
			continue
		case 1:
			w.become(&old, detached)
			outcome.Action = store.Release
		case 2:
			outcome.Action = store.CloseSuperseded
		case 3:
			w.become(&old, ended)
			outcome = store.Outcome{Action: store.EndSession, Ending: old.Ending()}
		case 4:
			r.Epoch = 3
		}
		before, now, want = append(before, old), append(now, r), append(want, outcome)
	}
	w.saved(before...)
	for i, got := range w.save(now...) {
		w.wantOutcome(&now[i], got, want[i])
	}
	for i, o := range want {
		if o.Action == store.Done {
			w.holds(&now[i])
		}
	}
}
