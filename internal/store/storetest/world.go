package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refresher/internal/session"
	"refresher/internal/store"
)

// The nodes of the tests.
const (
	nodeA = "node-a"
	nodeB = "node-b"
	nodeC = "node-c"
)

// highEpoch is above any epoch that a test saves.
const highEpoch = 1_000_000

type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2100, time.January, 1, 0, 0, 0, int(250*time.Millisecond), time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

func (c *clock) pass(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// world is a new store and its clock, for one check.
type world struct {
	*testing.T
	clock *clock
	store Store
	from  int // number from which the function `id` searches for the next id
}

func newWorld(t *testing.T, open Open) *world {
	c := newClock()
	return &world{T: t, clock: c, store: open(t, c.now)}
}

// in returns the same world for a subtest.
func (w *world) in(t *testing.T) *world { return &world{T: t, clock: w.clock, store: w.store} }

func (w *world) after(d time.Duration) time.Time { return w.clock.now().Add(d) }

func (w *world) pass(d time.Duration) { w.clock.pass(d) }

// id returns the id of a new session, in the same shard as the previous one.
func (w *world) id() string {
	var one []string
	one, w.from = idsFrom(w.from, 0, 1)
	return one[0]
}

// save writes records, and expects no error.
func (w *world) save(records ...store.Record) []store.Outcome {
	w.Helper()
	outcomes, err := w.store.Save(w.Context(), records)
	if err != nil {
		w.Fatalf("Save: %v", err)
	}
	if len(outcomes) != len(records) {
		w.Fatalf("Save of %d records gave %d outcomes", len(records), len(outcomes))
	}
	return outcomes
}

// saved writes records, and expects Done for each.
func (w *world) saved(records ...store.Record) {
	w.Helper()
	outcomes := w.save(records...)
	for i := range records {
		w.wantOutcome(&records[i], outcomes[i], store.Outcome{Action: store.Done})
	}
}

func (w *world) wantOutcome(r *store.Record, got, want store.Outcome) {
	w.Helper()
	if got != want {
		w.Fatalf("Save of %s by %s (epoch %d, version %d, state %d %s): %s, want %s",
			r.Session, r.Node, r.Epoch, r.Version, r.State, r.Reason, outcomeText(got), outcomeText(want))
	}
}

func outcomeText(o store.Outcome) string {
	text := "action " + string(rune('0'+o.Action))
	if name := actionNames[o.Action]; name != "" {
		text = name
	}
	if o.Wish != (store.Register{}) {
		text += fmt.Sprintf(" (wish %d, role %d)", o.Wish.Version, o.Wish.Role)
	}
	if o.Ending != (session.Ending{}) {
		text += " (" + endingText(o.Ending) + ")"
	}
	return text
}

var actionNames = map[store.Action]string{
	store.Retry: "Retry", store.Done: "Done", store.CloseSuperseded: "CloseSuperseded",
	store.Release: "Release", store.EndSession: "EndSession", store.FinishEnd: "FinishEnd", store.RaiseEpoch: "RaiseEpoch", store.LeaveAlone: "LeaveAlone",
}

func endingText(e session.Ending) string {
	return string(e.Reason) + ", access until " + e.AccessEndsAt.Time().UTC().Format(time.RFC3339)
}

// stored saves a record and returns it.
func (w *world) stored(r store.Record) store.Record {
	w.Helper()
	w.saved(r)
	return r
}

// acquire acquires a session, and expects no error.
func (w *world) acquire(g store.AcquireRequest) store.Acquired {
	w.Helper()
	held, err := w.store.Acquire(w.Context(), g)
	if err != nil {
		w.Fatalf("Acquire %+v: %v", g, err)
	}
	return held
}

// refused expects an Acquire to be refused, with this ending.
func (w *world) refused(g store.AcquireRequest, want session.Ending) {
	w.Helper()
	held, err := w.store.Acquire(w.Context(), g)
	ended, ok := errors.AsType[*session.EndedError](err)
	if !ok {
		w.Fatalf("Acquire %+v gave %+v and the error %v, want a session.EndedError (%s)", g, held, err, endingText(want))
	}
	if ended.Ending != want {
		w.Errorf("Acquire %+v is refused with %s, want %s", g, endingText(ended.Ending), endingText(want))
	}
}

// unknown expects the store to have no record of a session.
func (w *world) unknown(id string) {
	w.Helper()
	g := store.AcquireRequest{Session: id, Epoch: highEpoch, Node: "node-onlooker", Attach: true}
	w.same("Acquire of a session that the store should not know", store.Acquired{Epoch: highEpoch + 1}, w.acquire(g))
}

// holds expects the store to have r, or r's end. It acquires the session to find out.
func (w *world) holds(r *store.Record) {
	w.Helper()
	g := store.AcquireRequest{Session: r.Session, Epoch: highEpoch, Node: "node-onlooker", Attach: true}
	if r.HasEnded() && r.Reason != session.EndExpired {
		w.refused(g, r.Ending())
		return
	}
	w.same("what the store holds", store.Acquired{Epoch: highEpoch + 1, Known: true, Record: *r}, w.acquire(g))
}

// untimed ignores the due time of returned records, since the checks test when sweeps return
// sessions. givesDueBack tests the due time itself.
var untimed = cmpopts.IgnoreFields(store.Record{}, "Due")

// byID compares names of nodes by NodeID, since a store may keep only the NodeID.
var byID = gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".Node" },
	gocmp.Comparer(func(a, b string) bool { return store.NodeID(a) == store.NodeID(b) }))

// same expects two values to be equal.
func (w *world) same(what string, want, got any, options ...gocmp.Option) {
	w.Helper()
	if reflect.DeepEqual(want, got) {
		return // returns before gocmp.Diff if the values are equal, since that call took a quarter of the suite's CPU time
	}
	if diff := gocmp.Diff(want, got, append(options, untimed, byID)...); diff != "" {
		w.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func (w *world) doing(node string, do store.Doing) [store.Shards]store.Swept {
	w.Helper()
	swept, err := w.store.Sweep(w.Context(), node, do)
	if err != nil {
		w.Fatalf("Sweep by %s: %v", node, err)
	}
	return swept
}

// sweep returns the sessions that a sweep by the node returns, ordered by shard, due time and
// id.
func (w *world) sweep(node string) []store.Record {
	w.Helper()
	swept := w.doing(node, store.Claim)
	var all []store.Record
	for shard := range swept {
		found := &swept[shard]
		if found.Err != nil {
			w.Fatalf("Sweep by %s, shard %d: %v", node, shard, found.Err)
		}
		if n := len(found.Overdue); n > store.SweepLimit {
			w.Fatalf("Sweep by %s, shard %d: %d at once, want at most %d", node, shard, n, store.SweepLimit)
		}
		for i := range found.Overdue {
			r := &found.Overdue[i]
			if at := store.ShardOf(r.Session); at != shard {
				w.Fatalf("Sweep by %s: %s of shard %d is among shard %d's", node, r.Session, at, shard)
			}
			if store.NodeID(r.Node) != store.NodeID(node) {
				w.Fatalf("Sweep by %s: %s is still %s's", node, r.Session, r.Node)
			}
		}
		all = append(all, found.Overdue...)
	}
	return all
}

// handed expects a sweep by the node to return exactly these sessions, in any order.
func (w *world) handed(node string, want ...string) {
	w.Helper()
	got := ids(w.sweep(node))
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		w.Fatalf("Sweep by %s hands over %q, want %q", node, got, want)
	}
}

// handedWithin sweeps until a sweep by the node returns a session. It expects this to happen
// within d, and the session to be the only one.
func (w *world) handedWithin(d time.Duration, node, id string) store.Record {
	w.Helper()
	for end := w.after(d); !w.clock.now().After(end); w.pass(store.SweepEvery) {
		if got := w.sweep(node); len(got) > 0 {
			w.same("what a sweep hands over", []string{id}, ids(got))
			return got[0]
		}
	}
	w.Fatalf("%s sweeps for %s and is never handed %s", node, d, id)
	return store.Record{}
}

// leave ends a node's lease.
func (w *world) leave(node string) {
	w.Helper()
	swept := w.doing(node, store.Leave)
	for shard := range swept {
		if found := &swept[shard]; found.Err != nil || len(found.Overdue) > 0 {
			w.Fatalf("leaving Sweep by %s, shard %d: handed %q, error %v", node, shard, ids(found.Overdue), found.Err)
		}
	}
}

func ids(records []store.Record) []string {
	out := make([]string, len(records))
	for i := range records {
		out[i] = records[i].Session
	}
	return out
}

// byDue compares records by the order in which a sweep returns the records of one shard.
func byDue(a, b store.Record) int {
	return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Session, b.Session))
}
