package storetest

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"refresher/internal/session"
	"refresher/internal/store"
)

var listChecks = []check{
	{"shows nothing of an empty store", listsNothing},
	{"shows all, whole, by shard and id", listsWhole},
	{"gives the ids of a shard, sorted", listsIDs},
	{"reads the open ones of some sessions, in their order", listsRead},
	{"shows those that fit", listsFitting},
	{"shows each once, in parts of any size", listsInParts},
	{"goes on where it stood while sessions come and go", listsWhileTheyChange},
	{"goes on behind a session that is gone", listsBehindGone},
	{"shows nothing that is over", listsNoEnds},
	{"shows what came back", listsReturns},
	{"refuses limits out of bounds", listsLimits},
	{"refuses cursors that it did not give", listsCursors},
}

// list returns one page of a listing.
func (w *world) list(q store.ListQuery) (records []store.Record, next string) {
	w.Helper()
	records, next, err := store.List(w.Context(), w.store, q)
	if err != nil {
		w.Fatalf("List %+v: %v", q, err)
	}
	if len(records) > q.Limit {
		w.Fatalf("List %+v: %d records", q, len(records))
	}
	if next == q.After && next != "" {
		w.Fatalf("List %+v: it does not go on", q)
	}
	return records, next
}

// listAll returns all sessions of a listing, read in pages of limit. It calls the
// function `between` after each page, with the sessions so far.
func (w *world) listAll(limit int, between func(shown []store.Record)) (all []store.Record) {
	w.Helper()
	for q := (store.ListQuery{Limit: limit}); ; {
		records, next := w.list(q)
		all = append(all, records...)
		if q.After = next; next == "" {
			return all
		}
		between(all)
	}
}

// get returns one session's record, and whether the store has it.
func (w *world) get(id string) (store.Record, bool) {
	w.Helper()
	r, ok, err := w.store.Get(w.Context(), id)
	if err != nil {
		w.Fatalf("Get %s: %v", id, err)
	}
	return r, ok
}

func nothing([]store.Record) {}

// byPlace compares records by their order in a listing.
func byPlace(a, b store.Record) int {
	return cmp.Or(cmp.Compare(store.ShardOf(a.Session), store.ShardOf(b.Session)), strings.Compare(a.Session, b.Session))
}

func listsNothing(w *world) {
	if all := w.listAll(store.ListLimit, nothing); len(all) > 0 {
		w.Errorf("shown %q", ids(all))
	}
	if r, ok := w.get("S"); ok || r != (store.Record{}) {
		w.Errorf("Get of nothing gives %+v, %v", r, ok)
	}
}

func listsWhole(w *world) {
	var want []store.Record
	for _, r := range w.samples() {
		w.saved(r)
		if !r.HasEnded() {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, byPlace)
	got := w.listAll(store.ListLimit, nothing)
	w.same("what is shown", want, got)
	for i := range want {
		if got[i].Due != want[i].Due {
			w.Errorf("%s is due at %d, want %d", want[i].Session, got[i].Due, want[i].Due)
		}
		one, ok := w.get(want[i].Session)
		if w.same("Get", want[i], one); !ok || one.Due != want[i].Due {
			w.Errorf("Get %s: %v, due at %d", want[i].Session, ok, one.Due)
		}
	}
}

func listsIDs(w *world) {
	want := w.listed(150, 700)
	var got []string
	for shard := range store.Shards {
		ids, err := w.store.IDs(w.Context(), shard)
		if err != nil || !slices.IsSorted(ids) {
			w.Errorf("shard %d: %v, ids %q", shard, err, ids)
		}
		for _, id := range ids {
			if store.ShardOf(id) != shard {
				w.Errorf("shard %d: %s", shard, id)
			}
		}
		got = append(got, ids...)
	}
	w.same("the ids", want, got)
}

func listsRead(w *world) {
	all := w.listed(250, 10)
	over := w.record(all[3], nodeA)
	w.turns(&over, tombstone)
	slices.Reverse(all)
	want := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == over.Session })
	records, err := w.store.Read(w.Context(), append(all, "unknown"))
	if err != nil {
		w.Fatal(err)
	}
	w.same("what is read", want, ids(records))
	if records, err := w.store.Read(w.Context(), nil); err != nil || len(records) > 0 {
		w.Errorf("of no ids: %v, %v", records, err)
	}
}

func listsFitting(w *world) {
	all := w.listed(300, 250)
	for _, limit := range []int{1, 30, 200} {
		var got []string
		q := store.ListQuery{Limit: limit, Fits: func(r *store.Record) bool { return strings.HasSuffix(r.Session, "7") }}
		for done := false; !done; done = q.After == "" {
			var records []store.Record
			records, q.After = w.list(q)
			got = append(got, ids(records)...)
		}
		want := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return !strings.HasSuffix(id, "7") })
		w.same("what fits", want, got)
	}
	var walked []string
	if err := store.Walk(w.Context(), w.store, func(records []store.Record) { walked = append(walked, ids(records)...) }); err != nil {
		w.Fatal(err)
	}
	w.same("what Walk visits", all, walked)
}

// listed saves n sessions that are spread over all shards, and `inOne` more sessions in a
// single shard. It returns their ids in the order of a listing.
func (w *world) listed(n, inOne int) []string {
	w.Helper()
	var records []store.Record
	for _, id := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(spread(n), InShard(5, inOne))))) {
		records = append(records, w.record(id, nodeA))
	}
	w.saved(records...)
	slices.SortFunc(records, byPlace)
	return ids(records)
}

func listsInParts(w *world) {
	want := w.listed(150, 60)
	for _, limit := range []int{1, 2, 7, 60, len(want) - 1, len(want), store.ListLimit} {
		parts := 1
		got := ids(w.listAll(limit, func([]store.Record) { parts++ }))
		if !slices.Equal(got, want) {
			w.Errorf("in parts of %d: %d sessions, want %d, or in another order", limit, len(got), len(want))
		}
		if most := len(want)/limit + 2; parts > most {
			w.Errorf("%d parts of %d, want at most %d", parts, limit, most)
		}
	}
}

func listsWhileTheyChange(w *world) {
	stay := make(map[string]bool)
	var leave []string
	for i, id := range w.listed(400, 50) {
		if i%3 == 0 {
			leave = append(leave, id)
		} else {
			stay[id] = true
		}
	}
	come := 1000
	shown := w.listAll(7, func([]store.Record) {
		// Up to three sessions end, at different places of the listing.
		for range min(len(leave), 3) {
			at := len(leave) / 2 * (come % 3) / 2
			r := w.record(leave[at], nodeA)
			leave = slices.Delete(leave, at, at+1)
			w.become(&r, []stage{removed, tombstone}[come%2])
			r.Version = 2
			w.saved(r)
			come++
		}
		var id []string
		for range 3 {
			id, come = idsFrom(come, come%store.Shards, 1)
			w.saved(w.record(id[0], nodeB))
		}
	})
	once := make(map[string]bool)
	for _, r := range shown {
		if once[r.Session] {
			w.Errorf("%s is shown twice", r.Session)
		}
		once[r.Session] = true
		delete(stay, r.Session)
	}
	if len(stay) > 0 {
		w.Errorf("%d were there all along, and are not shown", len(stay))
	}
	if !slices.IsSortedFunc(shown, byPlace) {
		w.Error("not in order")
	}
}

func listsBehindGone(w *world) {
	want := w.listed(20, 20)
	shown := w.listAll(5, func(shown []store.Record) {
		r := shown[len(shown)-1]
		w.turns(&r, removed)
	})
	if got := ids(shown); !slices.Equal(got, want) {
		w.Errorf("shown %q, want %q", got, want)
	}
}

func listsNoEnds(w *world) {
	var want []string
	for _, s := range []stage{proven, attached, detached, expired, ended, removed, tombstone} {
		r := w.stored(w.record(w.id(), nodeA))
		w.turns(&r, s)
		if !r.HasEnded() {
			want = append(want, r.Session)
		}
		end := r
		if r.HasEnded() {
			end = r.OnlyEnd()
		}
		switch got, ok := w.get(r.Session); {
		case s == removed && ok:
			w.Errorf("Get of one that is %s gives %+v", s, got)
		case s != removed && !ok:
			w.Errorf("Get of one that is %s gives nothing", s)
		case s != removed:
			w.same("Get", end, got)
		}
	}
	slices.Sort(want) // the sessions are in one shard, so a listing has them in the order of their ids
	for _, limit := range []int{1, 2, 3, 100} {
		if got := ids(w.listAll(limit, nothing)); !slices.Equal(got, want) {
			w.Errorf("in parts of %d, shown %q, want %q", limit, got, want)
		}
	}
}

func listsReturns(w *world) {
	r := w.stored(w.at(expired))
	held := w.acquire(store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: nodeB, Attach: true})
	if got, ok := w.get(r.Session); !ok || store.NodeID(got.Node) != store.NodeID(nodeB) || got.State != session.Attached || got.Epoch != held.Epoch || got.Reason != "" {
		w.Errorf("after an Acquire: %+v, %v", got, ok)
	}
	// After its tombstone has expired, or its record was removed, a session can be saved again.
	for _, s := range []stage{tombstone, removed} {
		r := w.at(s)
		r.Reason = map[stage]session.EndReason{tombstone: session.EndLeft, removed: session.EndExpired}[s]
		w.saved(r)
		w.pass(store.Lease)
		w.clock.ms.Store(int64((r.TombstoneUntil() + 1).Milli()))
		again := w.record(r.Session, nodeB)
		w.saved(again)
		got, ok := w.get(r.Session)
		if w.same("Get", again, got); !ok {
			w.Errorf("%s again: not there", s)
		}
	}
	if got := w.listAll(10, nothing); len(got) != 3 {
		w.Errorf("shown %q", ids(got))
	}
}

// badRequest expects the listing to refuse a query.
func (w *world) badRequest(q store.ListQuery) {
	w.Helper()
	records, next, err := store.List(w.Context(), w.store, q)
	refusal, ok := errors.AsType[*session.Error](err)
	if !ok || refusal.Code != session.CodeBadRequest || len(records) > 0 || next != "" {
		w.Errorf("List %+v gives %q, %q and %v; want it refused", q, ids(records), next, err)
	}
}

func listsLimits(w *world) {
	w.listed(3, 3)
	for _, limit := range []int{-1, 0, store.ListLimit + 1} {
		w.badRequest(store.ListQuery{Limit: limit})
	}
	w.list(store.ListQuery{Limit: 1})
	w.list(store.ListQuery{Limit: store.ListLimit})
}

func listsCursors(w *world) {
	w.listed(64, 10)
	_, good := w.list(store.ListQuery{Limit: 9})
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		w.Fatalf("the cursor %q: %v", good, err)
	}
	encode := func(raw ...byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
	id := InShard(7, 1)[0]
	for _, bad := range []string{
		"0", "S1", "!", good + "=", good + "\n", " " + good, good[:1], encode(raw[:1]...), encode(append([]byte{2}, raw[1:]...)...),
		encode(1, 0), encode(1, store.Shards), encode(1, 255), encode(append([]byte{1, 8}, id...)...), strings.Repeat("A", 2000),
	} {
		w.badRequest(store.ListQuery{After: bad, Limit: 1})
	}
	// A cursor that contains the id of a session that never existed is valid.
	if records, _ := w.list(store.ListQuery{After: encode(append([]byte{1, 7}, id...)...), Limit: 1}); len(records) != 1 {
		w.Errorf("shown %q", ids(records))
	}
}
