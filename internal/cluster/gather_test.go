package cluster

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

func (f *fakeStore) times(start time.Time) map[string][]int64 {
	times := make(map[string][]int64)
	for _, save := range f.saves {
		for id := range save.versions {
			times[id] = append(times[id], save.at.Sub(start).Milliseconds())
		}
	}
	return times
}

// running runs a Cluster, under synctest's fake clock, until the returned function `stop` is
// called.
func running(t *testing.T) (c *Cluster, s *fakeStore, stop func()) {
	t.Helper()
	s = &fakeStore{}
	c, n := testCluster(s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx, n)
	}()
	synctest.Wait()
	return c, s, func() {
		cancel()
		<-done
	}
}

func (c *Cluster) inShard(shard, n int) *writer {
	return &writer{id: storetest.InShard(shard, n+1)[n], cluster: c}
}

// A due record is saved together with the other due records of its shard. Records that may wait
// longer than gatherFor wait until the first of them must be saved, and are then all saved at once.
func TestRecordsOfAShardGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, stop := running(t)
		start := time.Now()
		urgent, same, other, last := c.inShard(1, 0), c.inShard(1, 1), c.inShard(2, 0), c.inShard(3, 0)
		same.enqueue(1, session.Attached, time.Second)
		other.enqueue(1, session.Attached, time.Second)
		time.Sleep(500 * time.Millisecond) // bubble
		urgent.enqueue(1, session.Attached, 0)
		last.enqueue(1, session.Attached, time.Second)
		time.Sleep(5 * time.Second) // bubble
		stop()
		want := map[string][]int64{urgent.id: {600}, same.id: {600}, other.id: {1000}, last.id: {1000}}
		if got := s.times(start); !reflect.DeepEqual(got, want) || len(s.saves) != 2 {
			t.Errorf("saved at %v ms in %d calls, want %v in 2", got, len(s.saves), want)
		}
	})
}

// Each record, or a newer record of the same session, is saved within the time that the caller of
// Enqueue allowed. The saved versions of a session never decrease.
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
			c, s, stop := running(t)
			writers := make([]*writer, 6)
			for i := range writers {
				writers[i] = c.inShard(i/2, i%2)
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
				w.enqueue(version, session.Attached, m.within)
				promises = append(promises, promise{w.id, version, time.Now().Add(max(m.within, gatherFor))})
			}
			last := time.Now()
			stop()
			if took := time.Since(last); took != 0 || !s.left {
				rt.Errorf("stopped after %s, gave the lease up: %v", took, s.left)
			}
			for _, p := range promises {
				if !slices.ContainsFunc(s.saves, func(s save) bool { return s.versions[p.id] >= p.version && !s.at.After(p.by) }) {
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

type doneStore struct{ Store }

func (doneStore) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	for i := range outcomes {
		outcomes[i].Action = store.Done
	}
	return outcomes, nil
}

func TestAllocationsPerRecord(t *testing.T) {
	const records = 1300
	c, _ := testCluster(doneStore{})
	writers := make([]store.Writer, records)
	of := make([]*store.Record, records)
	for i := range of {
		writers[i], of[i] = &silentWriter{i}, (&writer{id: fmt.Sprint(i)}).record(1, session.Attached)
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
