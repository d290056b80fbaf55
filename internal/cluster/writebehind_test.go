package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer is a session of a test: it notes what the store has acknowledged.
type writer struct {
	id    string
	saved []uint64 // the versions, in their order
}

func (w *writer) Acknowledge(r *store.Record, o store.Outcome) {
	if o.Action == store.Done {
		w.saved = append(w.saved, r.Version)
	}
}

// record is the writer's record of some version.
func (w *writer) record(version uint64, state session.State) *store.Record {
	return &store.Record{Record: session.Record{Key: session.Key{Session: w.id}, State: state}, Version: version}
}

// flaky is a store that can be away.
type flaky struct {
	Store

	away    bool
	batches []int // how many records each Save had
}

func (f *flaky) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	f.batches = append(f.batches, len(records))
	outcomes := make([]store.Outcome, len(records))
	if f.away {
		return outcomes, errors.New("away")
	}
	for i := range outcomes {
		outcomes[i].Action = store.Done
	}
	return outcomes, nil
}

// rewritten is a Node that notes which shards it was to save again.
type rewritten struct {
	Node

	shards []store.ShardSet
}

func (n *rewritten) SaveAllAgain(shards *store.ShardSet) {
	if *shards != (store.ShardSet{}) {
		n.shards = append(n.shards, *shards)
	}
}

func testCluster(s Store) (*Cluster, *rewritten) {
	c := New(Config{Store: s, Node: "n", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	n := &rewritten{}
	c.node = n
	return c, n
}

// Of each session the newest record is saved, once, whatever was enqueued before it and
// however often the store was away.
func TestTheNewestRecordIsSaved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOf(rapid.SampledFrom([]string{"enqueue", "enqueue", "flush", "away", "back"})).Draw(rt, "moves")
		synctest.Test(t, func(*testing.T) {
			s := &flaky{}
			c, _ := testCluster(s)
			writers := []*writer{{id: "a"}, {id: "b"}, {id: "c"}}
			newest := make(map[*writer]uint64)
			for i, move := range moves {
				switch move {
				case "enqueue":
					w := writers[i%len(writers)]
					newest[w]++
					c.Enqueue(context.Background(), w.record(newest[w], session.State(i%3)), w)
				case "flush":
					c.flush()
					time.Sleep(maxRetry) // bubble
				default:
					s.away = move == "away"
				}
			}
			s.away = false
			time.Sleep(maxRetry) // bubble
			c.flush()
			for _, w := range writers {
				if n := newest[w]; n > 0 && (len(w.saved) == 0 || w.saved[len(w.saved)-1] != n || !slices.IsSorted(w.saved)) {
					rt.Errorf("%s: saved %v, the newest is %d", w.id, w.saved, n)
				}
			}
			if _, waiting, _ := c.pending.state(); waiting != 0 || c.pending.ended != 0 || c.pending.next() != never {
				rt.Errorf("%d records wait, %d of them ends", waiting, c.pending.ended)
			}
		})
	})
}

// A shard that was away gets all its sessions again once it is back, and others are not
// touched.
func TestShardThatIsBackIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &flaky{away: true}
		c, n := testCluster(s)
		w := &writer{id: "a"}
		c.Enqueue(context.Background(), w.record(1, session.Attached), w)
		c.flush()
		if c.pending.reaches("a") || !c.Degraded() {
			t.Error("the shard does not count as away")
		}
		s.away = false
		if c.flush(); len(s.batches) != 1 {
			t.Error("tried again at once")
		}
		time.Sleep(minRetry) // bubble
		c.flush()
		want := store.ShardSet{}
		want[store.ShardOf("a")] = true
		if len(n.shards) != 1 || n.shards[0] != want || c.Degraded() || len(w.saved) != 1 {
			t.Errorf("saved again: %v; acknowledged: %v", n.shards, w.saved)
		}
	})
}

// A batch has at most shardBatch records of a shard, and a storm's memory is given back.
func TestBatchesAreBounded(t *testing.T) {
	s := &flaky{}
	c, _ := testCluster(s)
	const storm = 2 * roomKept
	for i := range storm {
		w := &writer{id: fmt.Sprint(i)}
		c.Enqueue(context.Background(), w.record(1, session.Attached), w)
	}
	sum := 0
	for c.flush() {
	}
	for _, n := range s.batches {
		sum += n
	}
	if sum != storm || slices.Max(s.batches) > shardBatch*store.Shards || len(s.batches) < 3 || c.pending.most != 0 {
		t.Errorf("%d records in batches of %v", sum, s.batches)
	}
}

// While too many ends of sessions wait for a store that is away, further ones are dropped,
// and counted. Records of open sessions are taken.
func TestTooManyEndsAreDropped(t *testing.T) {
	c, _ := testCluster(&flaky{away: true})
	c.pending.ended = maxEnded
	w := &writer{id: "a"}
	if c.Enqueue(context.Background(), w.record(2, session.Ended), w) || !c.Enqueue(context.Background(), w.record(1, session.Attached), w) {
		t.Error("the wrong one was dropped")
	}
	if _, waiting, dropped := c.pending.state(); waiting != 1 || dropped != 1 {
		t.Errorf("%d wait, %d dropped", waiting, dropped)
	}
}
