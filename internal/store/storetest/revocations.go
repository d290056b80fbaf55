package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

var revocationChecks = []check{
	{"has a version when it is empty", revocationsEmpty},
	{"returns revocations whole", revocationsWhole},
	{"keeps the higher version", revocationsMerge},
	{"changes its version with each change", revocationsVersions},
	{"removes revocations that are over", revocationsOver},
	{"publishes changes", revocationsWatch},
	{"keeps what each node ended", revocationsEnded},
	{"merges from many at once", revocationsAtOnce},
	{"refuses more than the bound", revocationsFull},
}

// revocation returns a revocation that is in effect for an hour.
func (w *world) revocation(id string) store.Revocation {
	now := w.clock.now()
	return store.Revocation{
		ID: id, Selector: store.Selector{App: "app", Channel: "room of " + id}, Since: session.MilliOf(now), Until: session.SecOf(now) + 3600, Version: 1,
	}
}

func lifted(r store.Revocation) store.Revocation {
	r.Lifted, r.Version = true, r.Version+1
	return r
}

func (w *world) putRevocations(revocations ...store.Revocation) {
	w.Helper()
	if err := w.store.PutRevocations(w.Context(), revocations...); err != nil {
		w.Fatalf("PutRevocations: %v", err)
	}
}

// revocations reads all revocations, by id, and the version.
func (w *world) revocations(known store.RevocationsVersion) ([]store.Revocation, store.RevocationsVersion) {
	w.Helper()
	all, _, version, err := w.store.Revocations(w.Context(), known)
	if err != nil {
		w.Fatalf("Revocations: %v", err)
	}
	slices.SortFunc(all, func(a, b store.Revocation) int { return strings.Compare(a.ID, b.ID) })
	return all, version
}

// wantRevocations expects the store to have exactly these revocations, which must be
// ordered by id.
func (w *world) wantRevocations(want ...store.Revocation) store.RevocationsVersion {
	w.Helper()
	got, version := w.revocations(store.RevocationsVersion{})
	w.same("the revocations", want, got)
	return version
}

func revocationsEmpty(w *world) {
	version := w.wantRevocations()
	if version == (store.RevocationsVersion{}) {
		w.Error("the version of an empty store is none")
	}
	w.putRevocations()
	if again := w.wantRevocations(); again != version {
		w.Errorf("nothing was put, and the version was %v and is %v", version, again)
	}
	p, err := w.store.RevocationProgress(w.Context(), "R")
	if err != nil || p.Seq != 0 || len(p.Ended) != 0 {
		w.Errorf("progress of a revocation that is not there: %+v, %v", p, err)
	}
}

func revocationsWhole(w *world) {
	one, two := w.revocation("{1}"), lifted(w.revocation(`"2" ünï\`))
	one.User, one.Subject = "4294967295", "日本 <&>\n"
	two.Channel, two.User, two.Version = "", "7", 1<<40
	set := make(map[string]bool)
	for _, r := range []store.Revocation{one, two} {
		lookAtFields(reflect.ValueOf(r), "", set)
	}
	for name, is := range set {
		if !is {
			w.Errorf("no revocation has a%s: add one, so that stores are known to keep it", name)
		}
	}
	w.putRevocations(one, two)
	w.wantRevocations(two, one)
}

func revocationsMerge(w *world) {
	r := w.revocation("R")
	w.putRevocations(r)
	version := w.wantRevocations(r)
	w.putRevocations(r)
	if again := w.wantRevocations(r); again != version {
		w.Errorf("a copy was put, and the version was %v and is %v", version, again)
	}
	w.putRevocations(lifted(r))
	w.putRevocations(r)
	w.wantRevocations(lifted(r))
	// The lifted version of a revocation may arrive before the first version.
	late := w.revocation("S")
	w.putRevocations(lifted(late), late)
	version = w.wantRevocations(lifted(r), lifted(late))
	w.putRevocations(r, lifted(r), late)
	if again := w.wantRevocations(lifted(r), lifted(late)); again != version {
		w.Errorf("older copies were put, and the version was %v and is %v", version, again)
	}
}

func revocationsVersions(w *world) {
	seen := make(map[store.RevocationsVersion]bool)
	var all []store.Revocation
	var known store.RevocationsVersion
	for i := range 20 {
		got, version := w.revocations(known)
		w.same("the revocations", all, got)
		if seen[version] || version.Seq < known.Seq || i > 0 && version.Seq == known.Seq {
			w.Fatalf("the version %v after %v", version, known)
		}
		seen[version], known = true, version
		if none, same := w.revocations(known); none != nil || same != known {
			w.Fatalf("nothing has changed, and there are %d revocations of %v after %v", len(none), same, known)
		}
		if i%5 == 4 {
			all[i/5] = lifted(all[i/5])
			w.putRevocations(all[i/5])
		} else {
			all = append(all, w.revocation(fmt.Sprintf("R%02d", i)))
			w.putRevocations(all[len(all)-1])
		}
		_, next := w.revocations(known)
		if p, err := w.store.RevocationProgress(w.Context(), all[len(all)-1].ID); err != nil || i%5 != 4 && p.Seq != next.Seq {
			w.Errorf("the last came with %+v, %v; the version is %v", p, err, next)
		}
	}
}

func revocationsOver(w *world) {
	minute, hour, none := w.revocation("1"), w.revocation("2"), w.revocation("3")
	minute.Until = session.SecOf(w.clock.now()) + 60
	none.Until = session.SecOf(w.clock.now())
	w.putRevocations(minute, hour, none)
	w.pass(minute.Until.Time().Sub(w.clock.now()) - time.Millisecond)
	w.wantRevocations(minute, hour)
	w.pass(time.Millisecond)
	w.wantRevocations(hour)
	w.putRevocations(minute, lifted(minute))
	w.wantRevocations(hour)
	again := w.revocation("1")
	w.putRevocations(again)
	w.wantRevocations(again, hour)
}

type changeWatcher struct {
	w       *world
	changes chan store.RevocationsChange
	stop    func()
}

// watchRevocations starts a watcher, and returns when the watcher is subscribed and misses no change.
func (w *world) watchRevocations() *changeWatcher {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	f := &changeWatcher{w: w, changes: make(chan store.RevocationsChange, 16)}
	done := make(chan error, 1)
	go func() {
		done <- w.store.WatchRevocations(ctx, func(c store.RevocationsChange) { f.changes <- c })
	}()
	f.stop = sync.OnceFunc(func() {
		w.Helper()
		cancel()
		if err := w.await(done, "WatchRevocations to end"); err != nil {
			w.Errorf("WatchRevocations, whose context is done: %v, want nil", err)
		}
	})
	w.Cleanup(f.stop)
	if c := f.next(); c.From != c.To || len(c.Changed) != 0 {
		w.Errorf("at first: %+v", c)
	}
	return f
}

func (f *changeWatcher) next() (c store.RevocationsChange) {
	f.w.Helper()
	select {
	case c = <-f.changes:
	case <-time.After(patience):
		f.w.Fatalf("no change within %s", patience)
	}
	return c
}

func revocationsWatch(w *world) {
	_, known := w.revocations(store.RevocationsVersion{})
	one, two := w.watchRevocations(), w.watchRevocations()
	r := w.revocation("R")
	for _, put := range []store.Revocation{r, lifted(r)} {
		w.putRevocations(put)
		_, version := w.revocations(store.RevocationsVersion{})
		want := store.RevocationsChange{From: known, To: version, Changed: []store.Revocation{put}}
		w.same("the change", want, one.next())
		w.same("the change", want, two.next())
		known = version
	}
	one.stop()
	w.putRevocations(r)
	w.putRevocations(w.revocation("S"))
	if c := two.next(); len(c.Changed) != 1 || c.Changed[0].ID != "S" {
		w.Errorf("a change: %+v", c)
	}
	if len(one.changes) > 0 {
		w.Error("called after its end")
	}
}

func revocationsEnded(w *world) {
	r := w.revocation("R")
	w.putRevocations(r)
	_, version := w.revocations(store.RevocationsVersion{})
	want := map[string]store.Ended{
		nodeA: {Sessions: 3, AccessEndsAt: session.SecOf(w.after(time.Hour))},
		nodeB: {Sessions: 1, AccessEndsAt: session.SecOf(w.after(time.Minute))},
	}
	for _, more := range []int{0, 2} { // in the second round each node has ended more sessions
		for node, e := range want {
			e.Sessions += more
			want[node] = e
			if err := w.store.PutEnded(w.Context(), r, node, e); err != nil {
				w.Fatal(err)
			}
		}
		p, err := w.store.RevocationProgress(w.Context(), "R")
		if err != nil {
			w.Fatal(err)
		}
		w.same("progress", store.RevocationProgress{Seq: version.Seq, Ended: want}, p)
	}
	if _, again := w.revocations(version); again != version {
		w.Errorf("the version was %v and is %v", version, again)
	}
}

func revocationsAtOnce(w *world) {
	const many = 16
	var want []store.Revocation
	var all sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		put := []store.Revocation{w.revocation(fmt.Sprintf("R%02d", i)), w.revocation("the same")}
		want = append(want, put[0])
		all.Go(func() { errs[i] = w.store.PutRevocations(w.Context(), put...) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
	w.wantRevocations(append(want, w.revocation("the same"))...)
}

func revocationsFull(w *world) {
	all := make([]store.Revocation, store.MaxRevocations)
	for i := range all {
		all[i] = w.revocation(fmt.Sprintf("R%06d", i))
	}
	all[7].Until = session.SecOf(w.clock.now()) + 60
	w.putRevocations(all...)
	more, late := w.revocation("more"), w.revocation("still more")
	all[0] = lifted(all[0])
	if err := w.store.PutRevocations(w.Context(), more, all[0], late); !errors.Is(err, store.ErrRevocationsFull) {
		w.Fatalf("PutRevocations into a full store: %v", err)
	}
	w.putRevocations(all[:2]...) // the full store accepts these, since it already has these revocations
	w.pass(time.Minute)          // revocations that end in this time make room
	w.putRevocations(more)
	if err := w.store.PutRevocations(w.Context(), late); !errors.Is(err, store.ErrRevocationsFull) {
		w.Errorf("PutRevocations into a store that is full again: %v", err)
	}
	w.wantRevocations(append(slices.Delete(all, 7, 8), more)...)
}
