package store_test

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// memory is a store.Memory with a clock that the test moves.
type memory struct {
	*testing.T
	*store.Memory
	now time.Time
}

func newMemory(t *testing.T) *memory {
	m := &memory{T: t, now: time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)}
	m.Memory = store.NewMemory(func() time.Time { return m.now })
	return m
}

func (m *memory) save(r store.Record) {
	m.Helper()
	if outcomes, err := m.Save(m.Context(), []store.Record{r}); err != nil || outcomes[0].Action != store.Done {
		m.Fatalf("Save of %s: %+v, %v", r.Session, outcomes, err)
	}
}

func (m *memory) sweep(node string, do store.Doing) [store.Shards]store.Swept {
	m.Helper()
	swept, err := m.Sweep(m.Context(), node, do)
	if err != nil {
		m.Fatal(err)
	}
	return swept
}

func (m *memory) knows(id string) bool {
	held, err := m.Acquire(m.Context(), store.AcquireRequest{Session: id, Epoch: 1, Node: "onlooker"})
	return err != nil || held.Known
}

func (m *memory) wantLen(open, tombstones int) {
	m.Helper()
	if gotOpen, gotTombstones := m.Len(); gotOpen != open || gotTombstones != tombstones {
		m.Errorf("%d open, %d tombstones; want %d and %d", gotOpen, gotTombstones, open, tombstones)
	}
}

// open returns the record of an open session that is overdue.
func (m *memory) open(id string) store.Record {
	r := said("a", 1, 1, detached, "", 1)
	r.Session, r.Due = id, session.MilliOf(m.now.Add(-store.Slack))
	r.Terms.Until = session.SecOf(m.now.Add(24 * time.Hour))
	return r
}

// tombstone returns the record of a revoked session whose resume keys expire after d.
func (m *memory) tombstone(id string, d time.Duration) store.Record {
	r := m.open(id)
	r.State, r.Reason, r.Delivered, r.Version = ended, session.EndRevoked, store.DeliveredEnd, 2
	r.Terms.Until = session.SecOf(m.now.Add(d))
	return r
}

func TestMemoryLen(t *testing.T) {
	m := newMemory(t)
	m.wantLen(0, 0)
	m.save(m.open("S1"))
	m.save(m.open("S2"))
	m.save(m.open("S2"))
	m.wantLen(2, 0)
	m.save(m.tombstone("S1", time.Hour))
	m.wantLen(1, 1)
	m.save(m.tombstone("S1", 2*time.Hour))
	m.wantLen(1, 1)
	m.now = m.now.Add(time.Hour)
	m.sweep("a", store.Claim)
	m.wantLen(1, 1)
	m.now = m.now.Add(time.Hour)
	m.sweep("a", store.Claim)
	m.wantLen(1, 0)
	gone := m.open("S2")
	gone.State, gone.Reason, gone.Delivered, gone.Node, gone.Epoch = ended, expired, store.DeliveredEnd, "b", 2
	m.save(gone)
	m.wantLen(0, 0)
}

func TestMemoryLose(t *testing.T) {
	m := newMemory(t)
	first := m.sweep("a", store.Claim)
	m.save(m.open("S1"))
	m.save(m.tombstone("S2", time.Hour))
	m.Lose()
	m.wantLen(0, 0)
	for _, id := range []string{"S1", "S2"} {
		if m.knows(id) {
			t.Errorf("%s is still known", id)
		}
	}
	m.save(m.open("S1"))
	second := m.sweep("b", store.Claim)
	if overdue := second[store.ShardOf("S1")].Overdue; len(overdue) != 1 {
		t.Errorf("the lease outlived the store: handed over %+v", overdue)
	}
	m.Lose()
	third := m.sweep("a", store.Claim)
	for shard := range first {
		names := map[string]bool{first[shard].Generation: true, second[shard].Generation: true, third[shard].Generation: true}
		if len(names) != 3 {
			t.Errorf("shard %d: one name for two lives: %v", shard, names)
		}
	}
}

// TestMemoryLosesRevocations: Lose sends no notice, but changes the version.
func TestMemoryLosesRevocations(t *testing.T) {
	m := newMemory(t)
	r := store.Revocation{ID: "R", Until: session.SecOf(m.now) + 60, Version: 1}
	put := func() store.RevocationsVersion {
		if err := m.PutRevocations(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := m.PutEnded(t.Context(), r, "a", store.Ended{Sessions: 1}); err != nil {
			t.Fatal(err)
		}
		_, version, err := m.Revocations(t.Context(), store.RevocationsVersion{})
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	before := put()
	m.Lose()
	all, lost, err := m.Revocations(t.Context(), before)
	if err != nil || len(all) > 0 || lost == before {
		t.Errorf("revocations %+v, version %v after %v, %v", all, lost, before, err)
	}
	if after := put(); after == before || after == lost {
		t.Errorf("version %v after %v and %v", after, before, lost)
	}
	m.Lose()
	if p, err := m.RevocationProgress(t.Context(), "R"); err != nil || p.Seq != 0 || len(p.Ended) > 0 {
		t.Errorf("progress %+v, %v", p, err)
	}
}

// TestMemoryBoundsTombstones: the number of tombstones is bounded, so that a loop of joins
// and leaves does not fill the memory.
func TestMemoryBoundsTombstones(t *testing.T) {
	const bound = 1_000_000 / store.Shards
	m := newMemory(t)
	m.save(m.open("other"))
	shard := store.ShardOf("other")
	ids := make([]string, 0, bound+10)
	for i := 0; len(ids) < cap(ids); i++ {
		if id := "S" + strconv.Itoa(i); store.ShardOf(id) == shard {
			ids = append(ids, id)
		}
	}
	end := func(i int) { m.save(m.tombstone(ids[i], time.Hour+time.Duration(i)*time.Second)) }
	for i := range bound {
		end(i - i%5 + 4 - i%5) // the sessions do not end in the order in which their tombstones expire
	}
	m.wantLen(1, bound)
	for i := bound; i < len(ids); i++ {
		end(i)
	}
	m.wantLen(1, bound)
	for i, id := range ids {
		if want := i >= 10; m.knows(id) != want {
			t.Fatalf("the %dth to be forgotten is known: %v", i+1, !want)
		}
	}
	if !m.knows("other") {
		t.Error("an open session made room for tombstones")
	}
	// Tombstones are removed when they expire.
	m.now = m.now.Add(time.Hour + 20*time.Second)
	m.sweep("a", store.Leave)
	m.wantLen(1, bound-11)
}

// TestMemoryForgetsNodes: a node's statuses are kept for NodeKept after its lease has
// ended.
func TestMemoryForgetsNodes(t *testing.T) {
	m := newMemory(t)
	want := func(status string) {
		t.Helper()
		m.sweep("a", store.Renew)
		if got, err := m.Statuses(t.Context(), "topic"); err != nil || got["a"] != status {
			t.Errorf("a says %q, %v, want %q", got["a"], err, status)
		}
	}
	if err := m.SetStatus(t.Context(), "a", "topic", "ready"); err != nil {
		t.Fatal(err)
	}
	want("ready")
	m.now = m.now.Add(store.Lease + store.NodeKept - time.Millisecond)
	m.sweep("b", store.Renew)
	want("ready")
	m.now = m.now.Add(store.Lease + store.NodeKept)
	m.sweep("b", store.Renew)
	want("")
}

// TestMemoryRenewalAllocates limits the allocations of a renewal's save to those for the
// outcomes. The new record shares the data of the session's identity with the previous
// record.
func TestMemoryRenewalAllocates(t *testing.T) {
	m := newMemory(t)
	r := m.open("S1")
	r.Identity = session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}, RTM: &session.RTM{UserID: "u"}}
	m.save(r)
	records := []store.Record{r}
	allocations := testing.AllocsPerRun(100, func() {
		records[0].Version++
		if outcomes, err := m.Save(t.Context(), records); err != nil || outcomes[0].Action != store.Done {
			t.Fatal(outcomes, err)
		}
	})
	if allocations > 1 {
		t.Errorf("%.0f allocations, want 1", allocations)
	}
}

// TestMemorySessionIsSmall bounds the heap that the embedded store takes for a session.
func TestMemorySessionIsSmall(t *testing.T) {
	const sessions, most = 20_000, 450
	m := newMemory(t)
	records := make([]store.Record, sessions)
	for i := range records {
		records[i] = m.open("S" + strconv.Itoa(i))
		records[i].Identity = session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}, RTM: &session.RTM{UserID: "u"}}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	if _, err := m.Save(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if each := float64(heap()-before) / sessions; each > most {
		t.Errorf("%.0f bytes a session, want at most %d", each, most)
	}
	runtime.KeepAlive(records)
	m.wantLen(sessions, 0)
}

// BenchmarkMemorySweep measures a sweep of a node that has no overdue sessions.
func BenchmarkMemorySweep(b *testing.B) {
	m := store.NewMemory(time.Now)
	due := session.MilliOf(time.Now().Add(time.Hour))
	for i := range 100_000 {
		r := store.Record{Record: session.Record{ResumeClaims: session.ResumeClaims{Session: "S" + strconv.Itoa(i)}}, Node: "a", Due: due}
		if _, err := m.Save(b.Context(), []store.Record{r}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := m.Sweep(b.Context(), "a", store.Claim); err != nil {
			b.Fatal(err)
		}
	}
}
