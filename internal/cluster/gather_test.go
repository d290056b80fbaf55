package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// diary is a store that records the time and the versions of each save.
type diary struct {
	raising

	mu    sync.Mutex
	saves []diarySave // guarded by mu
}

// diarySave is one call of Save: the saved version of each session.
type diarySave struct {
	at       time.Time
	versions map[string]uint64
}

func (d *diary) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	save := diarySave{time.Now(), make(map[string]uint64)}
	outcomes := make([]store.Outcome, len(records))
	for i := range records {
		save.versions[records[i].Session] = records[i].Version
		outcomes[i].Action = store.Done
	}
	d.saves = append(d.saves, save)
	return outcomes, nil
}

// times returns, for each session, the times of its saves in milliseconds after start.
func (d *diary) times(start time.Time) map[string][]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	times := make(map[string][]int64)
	for _, save := range d.saves {
		for id := range save.versions {
			times[id] = append(times[id], save.at.Sub(start).Milliseconds())
		}
	}
	return times
}

// runDiary runs a Cluster with a diary, in simulated time, until the returned function `stop` is
// called.
func runDiary(t *testing.T) (c *Cluster, d *diary, stop func()) {
	t.Helper()
	d = &diary{}
	c, n := testCluster(d)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx, n)
	}()
	synctest.Wait()
	return c, d, func() {
		cancel()
		<-done
	}
}

// inShard returns the n-th session id of a shard.
func inShard(shard, n int) string {
	for i := 0; ; i++ {
		id := fmt.Sprint(i)
		if store.ShardOf(id) != shard {
			continue
		}
		if n == 0 {
			return id
		}
		n--
	}
}

// enqueue enqueues a record of an attached session.
func enqueue(c *Cluster, w *writer, version uint64, within time.Duration) {
	c.Enqueue(context.Background(), w.record(version, session.Attached), within, w)
}

// A due record is saved together with the other due records of its shard. Records that may wait
// longer wait until the first of them is due, and are then all saved at once.
func TestRecordsOfAShardGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d, stop := runDiary(t)
		start := time.Now()
		urgent, same, other, last := inShard(1, 0), inShard(1, 1), inShard(2, 0), inShard(3, 0)
		enqueue(c, &writer{id: same}, 1, time.Second)
		enqueue(c, &writer{id: other}, 1, time.Second)
		time.Sleep(500 * time.Millisecond) // bubble
		enqueue(c, &writer{id: urgent}, 1, 0)
		enqueue(c, &writer{id: last}, 1, time.Second)
		time.Sleep(5 * time.Second) // bubble
		stop()
		want := map[string][]int64{urgent: {600}, same: {600}, other: {1000}, last: {1000}}
		if got := d.times(start); fmt.Sprint(got) != fmt.Sprint(want) || len(d.saves) != 2 {
			t.Errorf("saved at %v ms in %d calls, want %v in 2", got, len(d.saves), want)
		}
	})
}

// A newer record of a session is saved no later than the record that it replaces would have been.
func TestNewerRecordIsNotLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d, stop := runDiary(t)
		start := time.Now()
		urgent, gathers := &writer{id: inShard(1, 0)}, &writer{id: inShard(2, 0)}
		enqueue(c, urgent, 1, 0)
		enqueue(c, gathers, 1, time.Second)
		enqueue(c, urgent, 2, time.Second)
		time.Sleep(300 * time.Millisecond) // bubble
		enqueue(c, gathers, 2, 0)
		time.Sleep(5 * time.Second) // bubble
		stop()
		want := map[string][]int64{urgent.id: {100}, gathers.id: {400}}
		if got := d.times(start); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("saved at %v ms, want %v", got, want)
		}
	})
}

// 1,300 renewals per second are saved once a second, with about 20 records in each call of a
// script. If records waited only 100 ms, a call would have about 2 records.
func TestRecordsPerSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d, stop := runDiary(t)
		const rate, seconds = 1300, 10
		for i := range rate * seconds {
			enqueue(c, &writer{id: fmt.Sprint(i)}, 1, time.Second)
			time.Sleep(time.Second / rate) // bubble
		}
		stop()
		var sizes []int
		sum := 0
		for _, save := range d.saves {
			sizes = append(sizes, len(save.versions))
			sum += len(save.versions)
		}
		if sum != rate*seconds || len(sizes) > seconds+1 || slices.Min(sizes[:seconds-1]) < 20*store.Shards {
			t.Errorf("%d records in calls of %v", sum, sizes)
		}
	})
}

// When a node stops, it saves its waiting records at once.
func TestStopDoesNotWaitForGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d, stop := runDiary(t)
		id := inShard(1, 0)
		enqueue(c, &writer{id: id}, 1, time.Second)
		start := time.Now()
		stop()
		if got := d.times(start); !slices.Equal(got[id], []int64{0}) || time.Since(start) != 0 || !d.left {
			t.Errorf("saved at %v ms, stopped after %s, gave the lease up: %v", got[id], time.Since(start), d.left)
		}
	})
}

// Before its time limit, each record or a newer record of the same session is saved. The saved
// versions of a session never decrease.
func TestEveryRecordIsSavedWithinItsTime(t *testing.T) {
	type move struct {
		after, within time.Duration
		writer        int
	}
	millis := func(rt *rapid.T, name string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Millisecond
	}
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOf(rapid.Custom(func(rt *rapid.T) move {
			return move{millis(rt, "after", 400), millis(rt, "within", 1000), rapid.IntRange(0, 5).Draw(rt, "writer")}
		})).Draw(rt, "moves")
		synctest.Test(t, func(t *testing.T) {
			c, d, stop := runDiary(t)
			writers := make([]*writer, 6)
			for i := range writers {
				writers[i] = &writer{id: inShard(i/2, i%2)}
			}
			type promise struct {
				id      string
				version uint64
				by      time.Time
			}
			var promises []promise
			for i, m := range moves {
				time.Sleep(m.after) // bubble
				w, version := writers[m.writer], uint64(i+1)
				enqueue(c, w, version, m.within)
				promises = append(promises, promise{w.id, version, time.Now().Add(max(m.within, gatherFor))})
			}
			time.Sleep(2 * time.Second) // bubble
			stop()
			for _, p := range promises {
				if !slices.ContainsFunc(d.saves, func(s diarySave) bool { return s.versions[p.id] >= p.version && !s.at.After(p.by) }) {
					rt.Errorf("version %d of %s was not saved by %s", p.version, p.id, p.by)
				}
			}
			for _, w := range writers {
				if !slices.IsSorted(w.saved) || len(slices.Compact(slices.Clone(w.saved))) != len(w.saved) {
					rt.Errorf("%s was saved as %v", w.id, w.saved)
				}
			}
		})
	})
}

// silentWriter is a session that ignores the store's answers.
type silentWriter struct{ id int }

func (*silentWriter) Acknowledge(*store.Record, store.Outcome) {}

// doneStore is a store that answers every save with Done.
type doneStore struct{ Store }

func (doneStore) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	for i := range outcomes {
		outcomes[i].Action = store.Done
	}
	return outcomes, nil
}

// Enqueuing and flushing a record allocates no memory for the record; only the batch allocates
// memory.
func TestAllocationsPerRecord(t *testing.T) {
	const records = 1300
	c, _ := testCluster(doneStore{})
	writers := make([]store.Writer, records)
	of := make([]*store.Record, records)
	for i := range of {
		w := &writer{id: fmt.Sprint(i)}
		writers[i], of[i] = &silentWriter{i}, w.record(1, session.Attached)
	}
	allocations := testing.AllocsPerRun(10, func() {
		for i, w := range writers {
			c.Enqueue(context.Background(), of[i], time.Second, w)
		}
		flushAll(c)
	})
	if allocations > records/10 {
		t.Errorf("%.0f allocations for %d records", allocations, records)
	}
}
