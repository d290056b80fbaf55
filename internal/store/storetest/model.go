package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Model plays arbitrary histories to the stores that open gives and to
// store.Memory, and wants the same answers of both, but for the due times in
// records that come back (see untimed). Each history has a store of its own.
func Model(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		h := &history{t: t, clock: c, oracle: store.NewMemory(c.now), subject: open(oneCheck{t, rt}, c.now), sessions: modelSessions(c)}
		rt.Repeat(rapid.StateMachineActions(h))
		h.finish(rt)
	})
}

// oneCheck is the test for as long as one history takes: what is opened for a
// history is released when it is over.
type oneCheck struct {
	testing.TB
	rt *rapid.T
}

func (c oneCheck) Cleanup(f func()) { c.rt.Cleanup(f) }

// history is one of a few nodes that have a few sessions in common.
type history struct {
	t               *testing.T
	clock           *clock
	oracle, subject Store
	sessions        []session.Key           // what does not change of them
	generations     [2][store.Shards]string // of the oracle and the subject
}

// modelSessions are three of one shard, two of another, and one by itself. Some
// have terms that end within a history.
func modelSessions(c *clock) []session.Key {
	all := slices.Concat(inShard(0, 3), inShard(7, 2), inShard(23, 1))
	keys := make([]session.Key, len(all))
	for i, id := range all {
		keys[i] = session.Key{
			Session: id, App: "app",
			Identity: session.Identity{RTC: &session.RTC{Channel: "room", Account: "user of " + id, Role: session.Role(i % 2)}, Chat: &session.Chat{UserID: id}},
			Terms:    session.Terms{TTL: time.Hour, Until: c.now().Add([]time.Duration{4 * time.Hour, 1000 * time.Hour}[i%2]).Unix()},
		}
	}
	return keys
}

// Save writes what some nodes say of some sessions.
func (h *history) Save(t *rapid.T) {
	which := rapid.SliceOfNDistinct(rapid.IntRange(0, len(h.sessions)-1), 1, 3, rapid.ID).Draw(t, "sessions")
	records := make([]store.Record, len(which))
	for i, n := range which {
		records[i] = h.drawRecord(t, h.sessions[n])
	}
	want, _ := h.oracle.Save(h.t.Context(), records) // it never fails
	got, err := h.subject.Save(h.t.Context(), records)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("Save of %+v (-want +got):\n%s", records, diff)
	}
}

// drawRecord is what a node may say of a session at this time.
func (h *history) drawRecord(t *rapid.T, key session.Key) store.Record {
	now := h.clock.now()
	key.Epoch = rapid.Uint64Range(8, 11).Draw(t, "epoch")
	flags := rapid.IntRange(0, 31).Draw(t, "flags")
	seq := rapid.Uint64Range(1, 12).Draw(t, "seq")
	r := store.Record{
		Record: session.Record{
			Key: key, Proven: key.Epoch - rapid.Uint64Range(0, 2).Draw(t, "unproven"),
			State: rapid.SampledFrom([]session.State{session.Attached, session.Detached, session.Ended}).Draw(t, "state"),
			Seq:   seq, HeldSeq: seq - uint64(flags&1),
			ExpiresAt: now.Unix() + int64(seq)*1200, HeldExpiresAt: now.Unix() - 60,
			Missed: flags&2 != 0, RanOut: flags&4 != 0, Reported: flags&1 != 0, Fetched: flags == 5,
		},
		Node: drawNode(t), Rev: rapid.Uint64Range(8, 11).Draw(t, "rev"),
		Told: store.Told(flags>>3) & (store.ToldJoined | store.ToldUnreachable),
		// Around the moment at which it is overdue, and often the same.
		DueMs: now.UnixMilli() + rapid.SampledFrom([]int64{-20_000, -2_001, -2_000, -1_999, 0, 1, 8_000, 60_000}).Draw(t, "due"),
	}
	switch r.State {
	case session.Attached:
	case session.Detached:
		r.DetachedAt = now.UnixMilli()
	case session.Ended:
		r.DueMs = now.UnixMilli()
		r.Reason = rapid.SampledFrom([]session.EndReason{session.EndExpired, session.EndLeft, session.EndRevoked, session.EndDenied}).Draw(t, "reason")
		if rapid.Bool().Draw(t, "told") {
			r.Told |= store.ToldEnd
		}
	}
	if left := r.Forget() - now.Unix(); left > 0 && left < 60 {
		r.Told &^= store.ToldEnd // graves last a minute, see the package comment
	}
	return r
}

func drawNode(t *rapid.T) string {
	return rapid.SampledFrom([]string{nodeA, nodeB, nodeC}).Draw(t, "node")
}

// Grip shows a node a key.
func (h *history) Grip(t *rapid.T) {
	h.grip(t, store.Grip{
		Session: h.sessions[rapid.IntRange(0, len(h.sessions)-1).Draw(t, "session")].Session,
		Epoch:   rapid.Uint64Range(6, 12).Draw(t, "epoch"),
		Node:    drawNode(t), Attach: rapid.Bool().Draw(t, "attach"),
	})
}

func (h *history) grip(t *rapid.T, g store.Grip) {
	want, wantErr := h.oracle.Grip(h.t.Context(), g)
	got, gotErr := h.subject.Grip(h.t.Context(), g)
	wantEnded, _ := errors.AsType[*session.EndedError](wantErr)
	gotEnded, ok := errors.AsType[*session.EndedError](gotErr)
	if gotErr != nil && !ok {
		t.Fatalf("Grip %+v: %v", g, gotErr)
	}
	if diff := gocmp.Diff(wantEnded, gotEnded); diff != "" {
		t.Fatalf("the error of Grip %+v (-want +got):\n%s", g, diff)
	}
	if diff := gocmp.Diff(want, got, untimed); diff != "" && !ok {
		t.Fatalf("Grip %+v (-want +got):\n%s", g, diff)
	}
}

// Sweep has a node look after the shards, or leave.
func (h *history) Sweep(t *rapid.T) {
	h.sweep(t, drawNode(t), rapid.SampledFrom([]store.Doing{store.Claim, store.Claim, store.Claim, store.Renew, store.Leave}).Draw(t, "do"))
}

func (h *history) sweep(t *rapid.T, node string, do store.Doing) {
	want := h.oracle.Sweep(h.t.Context(), node, do)
	got := h.subject.Sweep(h.t.Context(), node, do)
	for shard := range want {
		if err := got[shard].Err; err != nil {
			t.Fatalf("Sweep by %s, shard %d: %v", node, shard, err)
		}
		for i, swept := range []*store.Swept{&want[shard], &got[shard]} {
			if was := h.generations[i][shard]; was != "" && was != swept.Generation {
				t.Fatalf("Sweep by %s: the life of shard %d was %q and is %q", node, shard, was, swept.Generation)
			}
			h.generations[i][shard] = swept.Generation
		}
		if len(want[shard].Overdue) == 0 && len(got[shard].Overdue) == 0 {
			continue
		}
		if diff := gocmp.Diff(want[shard].Overdue, got[shard].Overdue, untimed); diff != "" {
			t.Fatalf("what a Sweep by %s (doing %d) hands over of shard %d (-want +got):\n%s", node, do, shard, diff)
		}
	}
}

// Advance lets time pass: some seconds, up to the moment before or after a lease
// or a claim runs out, or hours, in which graves are forgotten.
func (h *history) Advance(t *rapid.T) {
	short := rapid.SampledFrom([]time.Duration{
		time.Millisecond, store.Slack - time.Millisecond, store.Slack, store.Lease - time.Millisecond,
		store.Lease, store.Lease + store.Slack, 30 * time.Second,
	})
	between := rapid.Map(rapid.IntRange(0, 30_000), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
	long := rapid.SampledFrom([]time.Duration{time.Hour, 4 * time.Hour})
	h.clock.pass(rapid.OneOf(short, short, between, between, long).Draw(t, "time"))
}

// Check has nothing left to do: every answer was compared.
func (h *history) Check(*rapid.T) {}

// finish compares all that the stores hold: what is open or untold by a sweep,
// when all leases have run out; and the rest, and who owns it, by a Grip.
func (h *history) finish(t *rapid.T) {
	h.everyGrip(t, highEpoch-1)
	h.clock.pass(time.Minute)
	h.sweep(t, "node-last", store.Claim)
	h.everyGrip(t, highEpoch)
}

func (h *history) everyGrip(t *rapid.T, epoch uint64) {
	for _, key := range h.sessions {
		h.grip(t, store.Grip{Session: key.Session, Epoch: epoch, Node: "node-last", Attach: true})
	}
}
