package storetest

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Model runs arbitrary histories of operations on stores that the function `open` makes, and
// on store.Memory. It expects the same answers from both, except for the due times of
// returned records (see untimed) and the names of nodes. Each history has a store of its own.
func Model(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		h := &history{t: t, clock: c, oracle: store.NewMemory(c.now), subject: open(oneCheck{t, rt}, c.now), sessions: modelSessions(c)}
		rt.Repeat(rapid.StateMachineActions(h))
		h.finish(rt)
	})
}

// oneCheck is a test that lasts as long as one history, so that the history's store is
// closed at the history's end.
type oneCheck struct {
	testing.TB
	rt *rapid.T
}

func (c oneCheck) Cleanup(f func()) { c.rt.Cleanup(f) }

// history is a sequence of operations by a few nodes on a few shared sessions.
type history struct {
	t               *testing.T
	clock           *clock
	oracle, subject Store
	sessions        []session.ResumeClaims  // the parts of the sessions' records that do not change
	generations     [2][store.Shards]string // generations of the oracle and of the store under test
	versions        [2]store.RevocationsVersion
}

// modelSessions returns three sessions in one shard, two in another, and one in a third.
// Some sessions have terms that end within a history.
func modelSessions(c *clock) []session.ResumeClaims {
	all := slices.Concat(InShard(0, 3), InShard(7, 2), InShard(23, 1))
	keys := make([]session.ResumeClaims, len(all))
	for i, id := range all {
		keys[i] = session.ResumeClaims{
			Session: id, App: Apps[i%2], Subject: []string{"ana", "", "{b o}"}[i%3],
			Identity: session.Identity{RTC: &session.RTC{Channel: "room", Account: "user of " + id}, Chat: &session.Chat{UserID: id}},
			Terms:    session.Terms{TTL: time.Hour, Until: session.SecOf(c.now().Add([]time.Duration{4 * time.Hour, 1000 * time.Hour}[i%2])), MayPublish: i%2 == 0, Format: session.Format(i % 3)},
		}
	}
	return keys
}

func (h *history) Save(t *rapid.T) {
	which := rapid.SliceOfNDistinct(rapid.IntRange(0, len(h.sessions)-1), 1, 3, rapid.ID).Draw(t, "sessions")
	records := make([]store.Record, len(which))
	for i, n := range which {
		records[i] = h.drawRecord(t, h.sessions[n])
	}
	want, _ := h.oracle.Save(h.t.Context(), records) // the oracle is a store.Memory, which never fails
	got, err := h.subject.Save(h.t.Context(), records)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("Save of %+v (-want +got):\n%s", records, diff)
	}
}

// drawRecord returns a random record that a node could save for a session at this time.
func (h *history) drawRecord(t *rapid.T, key session.ResumeClaims) store.Record {
	now := h.clock.now()
	key.Epoch = rapid.Uint64Range(8, 11).Draw(t, "epoch")
	key.Identity.RTC = &session.RTC{
		Channel: key.Identity.RTC.Channel, Account: key.Identity.RTC.Account,
		Role: rapid.SampledFrom([]session.Role{session.Subscriber, session.Publisher}).Draw(t, "role"),
	}
	flags := rapid.IntRange(0, 31).Draw(t, "flags")
	seq := rapid.Uint64Range(1, 12).Draw(t, "seq")
	if flags&2 != 0 {
		key.ApprovedAt = session.SecOf(now) - session.UnixSec(seq)
	}
	r := store.Record{
		Record: session.Record{
			ResumeClaims: key, Proven: key.Epoch - rapid.Uint64Range(0, 2).Draw(t, "unproven"),
			State: rapid.SampledFrom([]session.State{session.Attached, session.Detached, session.Ended}).Draw(t, "state"),
			Seq:   seq, HeldSeq: seq - uint64(flags&1),
			ExpiresAt: session.SecOf(now) + session.UnixSec(seq)*1200, HeldExpiresAt: session.SecOf(now) - 60,
			IssuedAt: session.SecOf(now) - session.UnixSec(flags), AckedAt: session.SecOf(now) * session.UnixSec(flags&1),
			Unreachable: flags&2 != 0, TokensExpired: flags&4 != 0, ExpiryReported: flags&1 != 0, Fetched: flags == 5,
		},
		Node: drawNode(t), Version: rapid.Uint64Range(8, 11).Draw(t, "version"),
		WishVersion: rapid.SampledFrom([]session.UnixMilli{0, 0, session.MilliOf(now), session.MilliOf(now) + 1}).Draw(t, "wish"),
		Delivered:   store.Delivered(flags>>3) & (store.DeliveredJoined | store.DeliveredUnreachable),
		// The due times are close to the moment at which a session becomes overdue, and
		// often equal to each other.
		Due: session.MilliOf(now) + rapid.SampledFrom([]session.UnixMilli{-20_000, -2_001, -2_000, -1_999, 0, 1, 8_000, 60_000}).Draw(t, "due"),
	}
	switch r.State {
	case session.Attached:
	case session.Detached:
		r.DetachedAt = session.MilliOf(now)
	case session.Ended:
		r.Due = session.MilliOf(now)
		r.Reason = rapid.SampledFrom([]session.EndReason{session.EndExpired, session.EndLeft, session.EndRevoked, session.EndDenied}).Draw(t, "reason")
		if rapid.Bool().Draw(t, "told") {
			r.Delivered |= store.DeliveredEnd
		}
	}
	if left := r.TombstoneUntil() - session.SecOf(now); left > 0 && left < 60 {
		r.Delivered &^= store.DeliveredEnd // no tombstone may last less than a minute (see the package comment)
	}
	return r
}

func drawNode(t *rapid.T) string {
	return rapid.SampledFrom([]string{nodeA, nodeB, nodeC}).Draw(t, "node")
}

func (h *history) Acquire(t *rapid.T) {
	h.acquire(t, store.AcquireRequest{
		Session: h.sessions[rapid.IntRange(0, len(h.sessions)-1).Draw(t, "session")].Session,
		Epoch:   rapid.Uint64Range(6, 12).Draw(t, "epoch"),
		Node:    drawNode(t), Attach: rapid.Bool().Draw(t, "attach"),
	})
}

func (h *history) acquire(t *rapid.T, g store.AcquireRequest) {
	want, wantErr := h.oracle.Acquire(h.t.Context(), g)
	got, gotErr := h.subject.Acquire(h.t.Context(), g)
	wantEnded, _ := errors.AsType[*session.EndedError](wantErr)
	gotEnded, ok := errors.AsType[*session.EndedError](gotErr)
	if gotErr != nil && !ok {
		t.Fatalf("Acquire %+v: %v", g, gotErr)
	}
	if diff := gocmp.Diff(wantEnded, gotEnded); diff != "" {
		t.Fatalf("the error of Acquire %+v (-want +got):\n%s", g, diff)
	}
	if diff := gocmp.Diff(want, got, untimed, byID); diff != "" && !ok {
		t.Fatalf("Acquire %+v (-want +got):\n%s", g, diff)
	}
}

func (h *history) Wish(t *rapid.T) {
	w := store.Wish{
		Session: h.sessions[rapid.IntRange(0, len(h.sessions)-1).Draw(t, "session")].Session,
		Kind:    rapid.SampledFrom([]store.WishKind{store.WishRenew, store.WishRole, store.WishRole, store.WishEnd}).Draw(t, "kind"),
		Role:    rapid.SampledFrom([]session.Role{session.Subscriber, session.Publisher}).Draw(t, "role"),
		At:      session.MilliOf(h.clock.now()) + rapid.SampledFrom([]session.UnixMilli{-1000, 0, 0, 1}).Draw(t, "at"),
	}
	want, wantErr := h.oracle.Wish(h.t.Context(), w)
	got, gotErr := h.subject.Wish(h.t.Context(), w)
	if !errors.Is(gotErr, wantErr) {
		t.Fatalf("Wish %+v: %v, want %v", w, gotErr, wantErr)
	}
	if diff := gocmp.Diff(want, got, untimed, byID); diff != "" {
		t.Fatalf("Wish %+v (-want +got):\n%s", w, diff)
	}
}

// Sweep is a step of the history: a node takes over overdue sessions, renews its lease, or gives its lease up.
func (h *history) Sweep(t *rapid.T) {
	h.sweep(t, drawNode(t), rapid.SampledFrom([]store.Doing{store.Claim, store.Claim, store.Claim, store.Renew, store.Leave}).Draw(t, "do"))
}

func (h *history) sweep(t *rapid.T, node string, do store.Doing) {
	want, wantErr := h.oracle.Sweep(h.t.Context(), node, do)
	got, gotErr := h.subject.Sweep(h.t.Context(), node, do)
	if err := errors.Join(wantErr, gotErr); err != nil {
		t.Fatalf("Sweep by %s: %v", node, err)
	}
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
		if diff := gocmp.Diff(want[shard].Overdue, got[shard].Overdue, untimed, byID); diff != "" {
			t.Fatalf("what a Sweep by %s (doing %d) hands over of shard %d (-want +got):\n%s", node, do, shard, diff)
		}
	}
}

func (h *history) List(t *rapid.T) {
	h.list(t, rapid.IntRange(1, 8).Draw(t, "limit"))
}

func (h *history) list(t *rapid.T, limit int) {
	var all [2][]store.Record
	for i, s := range []Store{h.oracle, h.subject} {
		for q := (store.ListQuery{Limit: limit}); ; {
			records, next, err := store.List(h.t.Context(), s, q)
			if err != nil {
				t.Fatalf("List %+v: %v", q, err)
			}
			all[i] = append(all[i], records...)
			if q.After = next; next == "" {
				break
			}
		}
	}
	if diff := gocmp.Diff(all[0], all[1], untimed, byID); diff != "" {
		t.Fatalf("List (-want +got):\n%s", diff)
	}
	for _, key := range h.sessions {
		want, wantOK, _ := h.oracle.Get(h.t.Context(), key.Session)
		got, gotOK, err := h.subject.Get(h.t.Context(), key.Session)
		if gotOK && !wantOK && got.HasEnded() { // a store may return a tombstone for a while after it has expired
			got, gotOK = store.Record{}, false
		}
		if err != nil || wantOK != gotOK {
			t.Fatalf("Get %s: %v, %v, want %v", key.Session, gotOK, err, wantOK)
		}
		if diff := gocmp.Diff(want, got, untimed, byID); diff != "" {
			t.Fatalf("Get %s (-want +got):\n%s", key.Session, diff)
		}
	}
}

// PutRevocations merges copies of a few revocations, with random versions.
func (h *history) PutRevocations(t *rapid.T) {
	now := h.clock.now()
	revocations := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) store.Revocation {
		return store.Revocation{
			Selector: store.Selector{App: "app", User: drawNode(t)}, ID: rapid.SampledFrom([]string{"R1", "R2", "R3"}).Draw(t, "id"),
			Since: session.MilliOf(now), Lifted: rapid.Bool().Draw(t, "lifted"), Version: rapid.Int64Range(1, 4).Draw(t, "version"),
			Until: session.SecOf(now) + rapid.SampledFrom([]session.UnixSec{-1, 0, 60, 90, 20_000}).Draw(t, "until"),
		}
	}), 1, 3).Draw(t, "revocations")
	for _, s := range []Store{h.oracle, h.subject} {
		if err := s.PutRevocations(h.t.Context(), revocations...); err != nil {
			t.Fatalf("PutRevocations: %v", err)
		}
	}
	h.revocations(t)
}

// PutEnded stores how many sessions a node has ended for a revocation.
func (h *history) PutEnded(t *rapid.T) {
	all, _, _, err := h.oracle.Revocations(h.t.Context(), store.RevocationsVersion{})
	if err != nil || len(all) == 0 {
		t.Skip()
	}
	r, node, e := all[0], drawNode(t), store.Ended{Sessions: rapid.IntRange(1, 9).Draw(t, "sessions"), AccessEndsAt: 1}
	for _, s := range []Store{h.oracle, h.subject} {
		if err := s.PutEnded(h.t.Context(), r, node, e); err != nil {
			t.Fatalf("PutEnded: %v", err)
		}
		if p, err := s.RevocationProgress(h.t.Context(), r.ID); err != nil || p.Seq == 0 || p.Ended[node] != e {
			t.Fatalf("RevocationProgress of %s: %+v, %v; want %+v by %s", r.ID, p, err, e, node)
		}
	}
	h.revocations(t)
}

// revocations compares the revocations of both stores, and checks that a store's version
// changes whenever its revocations change.
func (h *history) revocations(t *rapid.T) {
	var all [2][]store.Revocation
	var changed [2]bool
	for i, s := range []Store{h.oracle, h.subject} {
		known, _, version, err := s.Revocations(h.t.Context(), h.versions[i])
		if err != nil || version == h.versions[i] && known != nil {
			t.Fatalf("Revocations: %+v, %v", known, err)
		}
		changed[i] = version != h.versions[i]
		h.versions[i] = version
		if all[i], _, _, err = s.Revocations(h.t.Context(), store.RevocationsVersion{}); err != nil {
			t.Fatalf("Revocations: %v", err)
		}
		slices.SortFunc(all[i], func(a, b store.Revocation) int { return cmp.Compare(a.ID, b.ID) })
	}
	if diff := gocmp.Diff(all[0], all[1]); diff != "" || changed[0] && !changed[1] {
		t.Fatalf("Revocations, changed %v (-want +got):\n%s", changed, diff)
	}
}

// Advance lets time pass: some seconds, the time until just before or after the end of a lease
// or of a claim, or hours, so that tombstones expire.
func (h *history) Advance(t *rapid.T) {
	short := rapid.SampledFrom([]time.Duration{
		time.Millisecond, store.Slack - time.Millisecond, store.Slack, store.Lease - time.Millisecond,
		store.Lease, store.Lease + store.Slack, 30 * time.Second,
	})
	between := rapid.Map(rapid.IntRange(0, 30_000), func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond })
	long := rapid.SampledFrom([]time.Duration{time.Hour, 4 * time.Hour})
	h.clock.pass(rapid.OneOf(short, short, between, between, long).Draw(t, "time"))
}

// Check does nothing: each operation has already compared the answers.
func (h *history) Check(*rapid.T) {}

// finish compares everything that the stores hold. It sweeps after all leases have expired, which
// returns the sessions that are open or whose end the back end has not acknowledged. It also
// acquires each session, which returns the other records and the owners.
func (h *history) finish(t *rapid.T) {
	h.list(t, store.ListLimit)
	h.revocations(t)
	h.acquireAll(t, highEpoch-1)
	h.clock.pass(time.Minute)
	h.sweep(t, "node-last", store.Claim)
	h.acquireAll(t, highEpoch)
}

func (h *history) acquireAll(t *rapid.T, epoch uint64) {
	for _, key := range h.sessions {
		h.acquire(t, store.AcquireRequest{Session: key.Session, Epoch: epoch, Node: "node-last", Attach: true})
	}
}
