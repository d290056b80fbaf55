package store_test

import (
	"errors"
	"runtime"
	"strconv"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

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
	m.save(m.open("S1"))
	m.save(m.open("S2"))
	m.wantLen(2, 0)
	m.save(m.tombstone("S1", time.Hour))
	m.save(m.tombstone("S1", 2*time.Hour))
	m.wantLen(1, 1)
	m.now = m.now.Add(2*time.Hour - time.Second)
	m.sweep("a", store.Claim)
	m.wantLen(1, 1)
	m.now = m.now.Add(time.Second)
	m.sweep("a", store.Claim)
	m.wantLen(1, 0)
}

func TestLoseChangesGenerationsAndVersion(t *testing.T) {
	m := newMemory(t)
	r := store.Revocation{ID: "R", Until: session.SecOf(m.now) + 60, Version: 1}
	generations, versions := make(map[string]bool), make(map[store.RevocationsVersion]bool)
	for i := range 3 {
		swept := m.sweep(strconv.Itoa(i), store.Renew)
		generations[swept[7].Generation] = true
		m.save(m.open("S1"))
		m.save(m.tombstone("S2", time.Hour))
		put := errors.Join(m.PutRevocations(t.Context(), r), m.PutEnded(t.Context(), r, "a", store.Ended{Sessions: 1}))
		_, _, version, err := m.Revocations(t.Context(), store.RevocationsVersion{})
		if err != nil || put != nil || versions[version] {
			t.Fatal(version, err, put)
		}
		versions[version] = true
		m.Lose()
		m.wantLen(0, 0)
		all, _, version, err := m.Revocations(t.Context(), version)
		p, progressErr := m.RevocationProgress(t.Context(), "R")
		if err != nil || progressErr != nil || len(all) > 0 || versions[version] || p.Seq != 0 || len(p.Ended) > 0 {
			t.Errorf("revocations %+v, version %v, progress %+v", all, version, p)
		}
		versions[version] = true
		statuses, err := m.Statuses(t.Context(), "topic")
		if err != nil || len(statuses) > 0 || m.knows("S1") || m.knows("S2") {
			t.Errorf("nodes %v, %v; sessions are known: %v, %v", statuses, err, m.knows("S1"), m.knows("S2"))
		}
	}
	if len(generations) != 3 {
		t.Errorf("generations %v", generations)
	}
}

// TestMemoryBoundsTombstones: the number of tombstones is bounded, so that a loop of joins
// and leaves does not fill the memory.
func TestMemoryBoundsTombstones(t *testing.T) {
	const bound = 1_000_000 / store.Shards
	m := newMemory(t)
	m.save(m.open("other"))
	shard := store.ShardOf("other")
	ids := storetest.InShard(shard, bound+10)
	end := func(i int) { m.save(m.tombstone(ids[i], time.Hour+time.Duration(i)*time.Second)) }
	for i := range bound {
		end(i - i%5 + 4 - i%5) // mixes the order, so that the sessions do not end in the order in which their tombstones expire
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
	m.now = m.now.Add(time.Hour + 20*time.Second)
	m.sweep("a", store.Leave)
	m.wantLen(1, bound-11)
}

func TestMemoryForgetsNodes(t *testing.T) {
	for gone, want := range map[time.Duration]string{store.NodeKept - time.Millisecond: "ready", store.NodeKept: ""} {
		m := newMemory(t)
		m.sweep("a", store.Renew)
		if err := m.SetStatus(t.Context(), "a", "topic", "ready"); err != nil {
			t.Fatal(err)
		}
		m.now = m.now.Add(store.Lease + gone)
		m.sweep("b", store.Renew)
		m.sweep("a", store.Renew)
		if got, err := m.Statuses(t.Context(), "topic"); err != nil || got["a"] != want {
			t.Errorf("a says %q, %v, want %q", got["a"], err, want)
		}
	}
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
