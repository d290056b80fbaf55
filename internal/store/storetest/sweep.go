package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// sweepChecks test which sessions a sweep returns to a node. The checks in claim.go test how
// a claim changes these sessions.
var sweepChecks = []check{
	{"finds nothing in an empty store", sweepsNothing},
	{"hands over what is overdue by more than Slack", sweepsOverdue},
	{"goes by what was written last", sweepsNewest},
	{"leaves alone what has an owner who lives", sweepsLiving},
	{"takes it when the lease has run out", sweepsLapsed},
	{"takes it soon when the owner dies later", sweepsLater},
	{"takes it at once from an owner who leaves", sweepsLeft},
	{"leaves the others their leases when one leaves", sweepsOthers},
	{"hands over by due time and id", sweepsInOrder},
	{"hands over a limited number, and the rest later", sweepsLimited},
	{"does not starve behind owners who live", sweepsBehindLiving},
	{"names the shards' lives, always the same", sweepsGeneration},
	{"of two at once hands each session to one", sweepsAtOnce},
}

func sweepsNothing(w *world) {
	w.handed(nodeA)
	w.leave(nodeA)
	w.leave(nodeB) // node B has never swept before, so it has no lease to end
	w.handed(nodeA)
}

func sweepsOverdue(w *world) {
	r := w.at(detached)
	r.Due = session.MilliOf(w.after(5 * time.Second))
	w.saved(r)
	w.handed(nodeB)
	w.pass(5*time.Second + store.Slack - time.Millisecond)
	w.handed(nodeB)
	w.pass(time.Millisecond)
	w.handed(nodeB, r.Session)
	w.handed(nodeC) // a sweep by node C returns nothing, since node B owns the session now
	w.handed(nodeB)
}

func sweepsNewest(w *world) {
	sooner, later := w.record(w.id(), nodeA), w.overdue(w.id())
	w.saved(sooner, later)
	sooner.Due, later.Due = later.Due, sooner.Due
	sooner.Version, later.Version = 2, 2
	w.saved(sooner, later)
	// A save that is outdated, or refused, does not change the due time.
	sooner.Due, later.Due = later.Due, sooner.Due
	sooner.Version, later.Version = 1, 1
	w.saved(sooner, later)
	later.Node = nodeB
	w.wantOutcome(&later, w.save(later)[0], store.Outcome{Action: store.Release})
	w.handed(nodeC, sooner.Session)
}

func sweepsLiving(w *world) {
	w.handed(nodeA)
	w.stored(w.overdue(w.id()))
	w.pass(store.Lease - time.Millisecond)
	w.handed(nodeB)
	// While node A sweeps, no other node claims the session.
	for range 40 {
		w.sweep(nodeA)
		w.pass(store.SweepEvery)
		w.handed(nodeB)
		w.handed(nodeC)
	}
}

func sweepsLapsed(w *world) {
	w.handed(nodeA)
	r := w.stored(w.overdue(w.id()))
	w.pass(store.Lease)
	w.handed(nodeB, r.Session)
}

func sweepsLater(w *world) {
	w.handed(nodeA)
	r := w.stored(w.overdue(w.id()))
	w.pass(store.Lease - time.Millisecond)
	w.handed(nodeB) // the session is not overdue yet, by a moment
	w.pass(time.Millisecond)
	w.handedWithin(store.Lease+store.Slack+store.SweepEvery, nodeB, r.Session)
}

func sweepsLeft(w *world) {
	w.handed(nodeA)
	r, later := w.overdue(w.id()), w.record(w.id(), nodeA)
	w.saved(r, later)
	w.leave(nodeA)
	w.handed(nodeB, r.Session)
	r.Node, r.Version, r.Due = nodeB, 2, session.MilliOf(w.after(10*time.Hour))
	w.saved(r)
	// A node may sweep again, and then end its lease before one of its own sessions is due. Another
	// node claims that session.
	w.pass(later.Due.Time().Sub(w.clock.now()) - time.Second)
	w.handed(nodeA)
	w.leave(nodeA)
	w.pass(time.Second + store.Slack)
	w.handed(nodeC, later.Session)
}

func sweepsOthers(w *world) {
	w.handed(nodeA)
	w.handed(nodeB)
	w.saved(w.overdue(w.id()))
	w.leave(nodeB)
	w.handed(nodeC)
}

func sweepsInOrder(w *world) {
	const many = 40
	var records []store.Record
	for i, id := range InShard(0, many) {
		r := w.overdue(id)
		r.Due -= session.UnixMilli(i*7%13) * 1000 // some sessions have the same due time
		if i == 0 {
			r.Due = 999 // this due time has fewer digits than the others, so that a store that compares due times as text fails
		}
		records = append(records, r)
	}
	w.saved(records...)
	got := w.sweep(nodeB)
	slices.SortFunc(records, byDue)
	w.same("what a sweep hands over", ids(records), ids(got))
}

func sweepsLimited(w *world) {
	const many = 2*store.SweepLimit + 88
	var records []store.Record
	for i, id := range InShard(0, many) {
		r := w.overdue(id)
		r.Due -= session.UnixMilli(i*7919%many) * 1000
		records = append(records, r)
	}
	w.saved(records...)
	var others []string
	for i := range 3 {
		r := w.overdue(fmt.Sprintf("other %d", i))
		for store.ShardOf(r.Session) == store.ShardOf(records[0].Session) {
			r.Session += "+"
		}
		w.saved(r)
		others = append(others, r.Session)
	}
	slices.SortFunc(records, byDue)
	for sweep, want := range []int{store.SweepLimit, store.SweepLimit, 88, 0} {
		var got []string
		for _, id := range ids(w.sweep(nodeB)) {
			if !slices.Contains(others, id) {
				got = append(got, id)
			} else if sweep > 0 {
				w.Errorf("%s, of another shard, had to wait for sweep %d", id, sweep+1)
			}
		}
		if !slices.Equal(got, ids(records[:want])) {
			w.Fatalf("sweep %d hands over %d, want the next %d in order:\n%q", sweep+1, len(got), want, got)
		}
		records = records[want:]
		w.pass(time.Millisecond)
	}
}

func sweepsBehindLiving(w *world) {
	const living = store.SweepLimit + store.SweepLimit/2
	w.handed(nodeA)
	var (
		records []store.Record
		orphans []string // ids of the sessions of node C, which never had a lease
	)
	for i, id := range InShard(0, living+10) {
		r := w.overdue(id)
		if i < living {
			r.Due -= 1000 // the sessions of node A are due before those of node C
		} else {
			r.Node = nodeC
			orphans = append(orphans, id)
		}
		records = append(records, r)
	}
	w.saved(records...)
	// The first sweep may examine only sessions of node A, whose lease has not expired. So two
	// sweeps are needed.
	got := append(ids(w.sweep(nodeB)), ids(w.sweep(nodeB))...)
	slices.Sort(got)
	slices.Sort(orphans)
	w.same("what two sweeps hand over", orphans, got)
}

func sweepsGeneration(w *world) {
	first := w.doing(nodeA, store.Claim)
	var records []store.Record
	for _, id := range spread(store.Shards) {
		records = append(records, w.overdue(id))
	}
	w.saved(records...)
	for i, again := range [][store.Shards]store.Swept{
		w.doing(nodeA, store.Claim),
		w.doing(nodeB, store.Claim),
		w.doing(nodeB, store.Leave),
		w.doing(nodeA, store.Claim),
	} {
		for shard := range again {
			was, is := first[shard].Generation, again[shard].Generation
			if was == "" || was != is {
				w.Fatalf("shard %d was %q and is %q in sweep %d, want one name", shard, was, is, i+2)
			}
		}
	}
}

func sweepsAtOnce(w *world) {
	const many = 500
	var records []store.Record
	for _, id := range spread(many) {
		records = append(records, w.overdue(id))
	}
	w.saved(records...)
	nodes := []string{nodeB, nodeC}
	var swept [2][store.Shards]store.Swept
	var errs [2]error
	var wait sync.WaitGroup
	for i, node := range nodes {
		wait.Go(func() { swept[i], errs[i] = w.store.Sweep(w.Context(), node, store.Claim) })
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		w.Fatal(err)
	}
	owners := make(map[string]string)
	for i, node := range nodes {
		for shard := range swept[i] {
			if err := swept[i][shard].Err; err != nil {
				w.Fatalf("Sweep by %s: %v", node, err)
			}
			for _, id := range ids(swept[i][shard].Overdue) {
				if owners[id] != "" {
					w.Errorf("%s is handed to %s and to %s", id, owners[id], node)
				}
				owners[id] = node
			}
		}
	}
	if len(owners) != many {
		w.Errorf("of %d sessions, %d are handed over", many, len(owners))
	}
}
