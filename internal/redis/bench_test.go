package redis

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

// The target of BenchmarkRenewal: at 1,300 renewals a second, with tokens of 20 s or more, a
// renewal takes at most 8 µs of Redis's main thread, network included. The measured times were
// 5.0 µs in batches of 1280 records, and 8.2 µs in batches of 128. From ten thousand sessions
// to a million, the time of a renewal grows by at most a third.

func TestSessionIsSmall(t *testing.T) {
	t.Parallel()
	const sessions, most = 25_000, 430
	c := fill(t, sessions)
	if c.memory > most {
		t.Errorf("%.0f bytes a session, want at most %d", c.memory, most)
	}
	before := c.server.UsedMemory()
	records := make([]store.Record, sessions)
	for i := range records {
		c.versions[i] = 25
		records[i] = c.renewed(i)
	}
	c.save(records)
	if more := float64(c.server.UsedMemory()-before) / sessions; c.memory+more > most {
		t.Errorf("%.0f bytes a session after a day, want at most %d", c.memory+more, most)
	}
}

// TestSaveOfManyRenewals: the renewals of one second, 1,300 of them, are saved by one script
// call for each shard, in one pipeline. On the node, the save of a record takes ten
// allocations: for its key, fence, state and due time, and within the client library.
func TestSaveOfManyRenewals(t *testing.T) {
	const renewals, most = 1300, 11
	c := fill(t, renewals)
	seen := &pipelines{}
	c.store.client.AddHook(seen)
	records := make([]store.Record, renewals)
	renew := func() {
		for i := range records {
			records[i] = c.renewed(i)
		}
	}
	renew()
	c.save(records)
	if !slices.Equal(seen.scripts, []int{store.Shards}) {
		t.Errorf("pipelines with %v script calls, want one with %d", seen.scripts, store.Shards)
	}
	renewing := testing.AllocsPerRun(10, renew)
	saving := testing.AllocsPerRun(10, func() {
		renew()
		c.save(records)
	})
	if each := (saving - renewing) / renewals; each > most {
		t.Errorf("%.1f allocations a record, want at most %d", each, most)
	}
}

// BenchmarkRenewal reports what one renewal costs Redis: a save of a stored session with
// a new state and a new due time, among sessions of all shards.
//
//	flush=128   Batches of 128 sessions, in the order of their due times. Batches have this
//	            size at 1,300 renewals a second with tokens of less than 10 s.
//	flush=1280  The same with longer tokens, whose renewals wait a second for a batch.
//	flush=4096  The same in a reconnect storm.
//	random      Batches of 256 random sessions: the worst order for a processor's caches.
func BenchmarkRenewal(b *testing.B) {
	benchEach(b, func(b *testing.B, c *crowd) {
		inOrder := func() int {
			c.last = (c.last + 1) % len(c.versions)
			return c.last
		}
		b.Run("flush=128", func(b *testing.B) { c.renew(b, 128, inOrder) })
		b.Run("flush=1280", func(b *testing.B) { c.renew(b, 1280, inOrder) })
		b.Run("flush=4096", func(b *testing.B) { c.renew(b, 4096, inOrder) })
		b.Run("random", func(b *testing.B) { c.renew(b, 256, func() int { return rand.IntN(len(c.versions)) }) })
	})
}

func (c *crowd) renew(b *testing.B, flush int, next func() int) {
	records := make([]store.Record, 0, flush)
	report := c.measure(b, "renewal")
	for b.Loop() {
		if records = append(records, c.renewed(next())); len(records) == flush {
			c.save(records)
			records = records[:0]
		}
	}
	c.save(records)
	report(b.N)
	b.ReportMetric(c.memory, "B/session")
}

func (c *crowd) measure(b *testing.B, item string) (report func(n int)) {
	c.server.Do("CONFIG", "RESETSTAT")
	cpu, commands := c.server.CPU(), c.server.Commands()
	return func(n int) {
		b.ReportMetric(float64((c.server.CPU()-cpu).Nanoseconds())/1000/float64(n), "redis-µs/"+item)
		b.ReportMetric(float64(c.server.Commands()-commands)/float64(n), "commands/"+item)
	}
}

func benchEach(b *testing.B, run func(b *testing.B, c *crowd)) {
	sizes := []int{10_000, 25_000, 100_000, 1_000_000}
	if testing.Short() {
		sizes = sizes[1:2]
	}
	for _, sessions := range sizes {
		b.Run("sessions="+strconv.Itoa(sessions), func(b *testing.B) { run(b, fill(b, sessions)) })
	}
}

type crowd struct {
	t        testing.TB
	server   *redistest.Server
	store    *Store
	versions []uint32
	due      []session.UnixMilli
	last     int
	memory   float64
}

const interval = 55 * time.Minute

// fill starts a Redis and fills it with sessions of one node. Their due times are spread evenly
// over one interval.
func fill(t testing.TB, sessions int) *crowd {
	t.Helper()
	c := &crowd{t: t, server: redistest.Start(t), versions: make([]uint32, sessions), due: make([]session.UnixMilli, sessions)}
	c.store = open(t, c.server.UnixURL(), nil).Store
	now := session.MilliOf(time.Now())
	for i := range c.due {
		c.due[i] = now.Add(-interval + interval*time.Duration(i)/time.Duration(sessions))
	}
	c.save([]store.Record{c.renewed(0)}) // this save loads the scripts and opens a connection, so that neither is measured
	before := c.server.UsedMemory()
	for from := 0; from < sessions; from += 2000 {
		var records []store.Record
		for i := from; i < min(from+2000, sessions); i++ {
			records = append(records, c.renewed(i))
		}
		c.save(records)
	}
	c.memory = float64(c.server.UsedMemory()-before) / float64(sessions)
	return c
}

func (c *crowd) save(records []store.Record) {
	c.t.Helper()
	must(c.t, (&harness{Store: c.store}).trySave(c.t.Context(), records))
}

func (c *crowd) renewed(i int) store.Record {
	c.versions[i]++
	now := c.due[i].Time()
	c.due[i] = c.due[i].Add(interval)
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(i)*0xd1342543de82ef95)
	r := storetest.Renewed(
		base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]), "refresher-7f9c4d8b5-x-A2B3C4D5",
		session.Identity{
			RTC: &session.RTC{Channel: fmt.Sprintf("consultation-%06d", i), UID: 1_000_000_000 + uint32(i), Role: session.Publisher},
			RTM: &session.RTM{UserID: fmt.Sprintf("user-%08d", i)},
		}, now)
	r.Due = c.due[i]
	r.Version, r.Seq, r.HeldSeq = uint64(c.versions[i]), uint64(c.versions[i]), uint64(c.versions[i])
	return r
}
