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
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer is a session that records which of its versions the store has saved. When the store
// answers RaiseEpoch, it enqueues its record again.
type writer struct {
	id      string
	cluster *Cluster
	saved   []uint64
}

func (w *writer) Acknowledge(r *store.Record, o store.Outcome) {
	switch o.Action {
	case store.Done:
		w.saved = append(w.saved, r.Version)
	case store.RaiseEpoch:
		time.Sleep(time.Millisecond) // bubble: simulates that another goroutine holds the session's lock for a millisecond
		w.enqueue(r.Version+1, r.State, 0)
	}
}

func (w *writer) record(version uint64, state session.State) *store.Record {
	return &store.Record{Record: session.Record{ResumeClaims: session.ResumeClaims{Session: w.id}, State: state}, Version: version}
}

func (w *writer) enqueue(version uint64, state session.State, within time.Duration) bool {
	return w.cluster.Enqueue(context.Background(), w.record(version, state), within, w)
}

// save is one call of Save: the saved version of each session.
type save struct {
	at       time.Time
	versions map[string]uint64
}

type fakeStore struct {
	away, left bool
	raises     bool // if true, the answer to version 1 of each record is RaiseEpoch
	saves      []save
	acquires   int
}

func (f *fakeStore) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	if f.away {
		return outcomes, errors.New("away")
	}
	s := save{time.Now(), make(map[string]uint64, len(records))}
	for i := range records {
		outcomes[i].Action = store.Done
		if s.versions[records[i].Session] = records[i].Version; f.raises && records[i].Version == 1 {
			outcomes[i].Action = store.RaiseEpoch
		}
	}
	f.saves = append(f.saves, s)
	return outcomes, nil
}

func (f *fakeStore) Acquire(context.Context, store.AcquireRequest) (store.Acquired, error) {
	f.acquires++
	return store.Acquired{}, nil
}

func (f *fakeStore) Sweep(_ context.Context, _ string, do store.Doing) (swept [store.Shards]store.Swept, err error) {
	f.left = f.left || do == store.Leave
	return swept, nil
}

func (*fakeStore) Watch(ctx context.Context, _ string, _ func(), _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}

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

func flushAll(c *Cluster) (more bool) {
	c.pending.makeAllDue()
	return c.flush()
}

func TestTheNewestRecordIsSaved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOf(rapid.SampledFrom([]string{"enqueue", "enqueue", "flush", "away", "back"})).Draw(rt, "moves")
		synctest.Test(t, func(*testing.T) {
			s := &fakeStore{}
			c, _ := testCluster(s)
			writers := []*writer{{id: "a", cluster: c}, {id: "b", cluster: c}, {id: "c", cluster: c}}
			newest := make(map[*writer]uint64)
			for i, move := range moves {
				switch move {
				case "enqueue":
					w := writers[i%len(writers)]
					newest[w]++
					w.enqueue(newest[w], session.State(i%3), 0)
				case "flush":
					flushAll(c)
					time.Sleep(maxRetry) // bubble
				default:
					s.away = move == "away"
				}
			}
			s.away = false
			time.Sleep(maxRetry) // bubble
			flushAll(c)
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

func TestShardThatIsBackIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{away: true}
		c, n := testCluster(s)
		w := &writer{id: "a", cluster: c}
		w.enqueue(1, session.Attached, 0)
		flushAll(c)
		if c.pending.shardUp("a") || !c.Degraded() {
			t.Error("the shard does not count as away")
		}
		s.away = false
		if flushAll(c); len(s.saves) != 0 {
			t.Error("tried again at once")
		}
		time.Sleep(minRetry) // bubble
		flushAll(c)
		want := store.ShardSet{}
		want[store.ShardOf("a")] = true
		if len(n.shards) != 1 || n.shards[0] != want || c.Degraded() || len(w.saved) != 1 {
			t.Errorf("saved again: %v; acknowledged: %v", n.shards, w.saved)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	s := &fakeStore{}
	c, _ := testCluster(s)
	const storm = 2 * roomKept
	for i := range storm {
		(&writer{id: fmt.Sprint(i), cluster: c}).enqueue(1, session.Attached, 0)
	}
	for flushAll(c) {
	}
	sum, largest := 0, 0
	for _, save := range s.saves {
		sum, largest = sum+len(save.versions), max(largest, len(save.versions))
	}
	if sum != storm || largest > shardBatch*store.Shards || len(s.saves) < 3 || c.pending.most != 0 {
		t.Errorf("%d records in %d batches of up to %d", sum, len(s.saves), largest)
	}
}

func TestTooManyEndsAreDropped(t *testing.T) {
	c, _ := testCluster(&fakeStore{away: true})
	c.pending.ended = maxEnded
	w := &writer{id: "a", cluster: c}
	if w.enqueue(2, session.Ended, 0) || !w.enqueue(1, session.Attached, 0) {
		t.Error("the wrong one was dropped")
	}
	if _, waiting, dropped := c.pending.state(); waiting != 1 || dropped != 1 {
		t.Errorf("%d wait, %d dropped", waiting, dropped)
	}
}

// When a node stops, it also saves the records that the store's last answers require, such as a
// session's end under a higher epoch. Otherwise the resume key could still open the ended session.
// The last answers may come just before the stop, when no other record waits.
func TestRunSavesWhatTheLastAnswersAskFor(t *testing.T) {
	for _, runs := range []time.Duration{0, gatherFor + time.Microsecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &fakeStore{raises: true}
			c, n := testCluster(s)
			w := &writer{id: "a", cluster: c}
			w.enqueue(1, session.Ended, 0)
			ctx, cancel := context.WithTimeout(t.Context(), runs)
			defer cancel()
			c.Run(ctx, n)
			if !slices.Equal(w.saved, []uint64{2}) || !s.left {
				t.Errorf("stopped after %s: saved %v, gave the lease up: %v", runs, w.saved, s.left)
			}
		})
	}
}

func TestNothingIsAcquiredForAClientThatHasGone(t *testing.T) {
	s := &fakeStore{}
	c, _ := testCluster(s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 { // the test repeats this, since select chooses at random among the cases that are ready
		if _, err := c.Acquire(ctx, &session.ResumeClaims{Session: "a", Epoch: 1}, true); !errors.Is(err, context.Canceled) {
			t.Errorf("acquired: %v", err)
		}
	}
	if s.acquires != 0 || len(c.slots) != 0 {
		t.Errorf("the store was asked %d times; %d slots are taken", s.acquires, len(c.slots))
	}
}

// Records are saved even if a sampler records a renewal but not its child spans.
func TestRecordsOfAnUnsampledTrace(t *testing.T) {
	provider := sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample(), sdk.WithLocalParentSampled(sdk.NeverSample()))))
	ctx, span := provider.Tracer("test").Start(context.Background(), "renewal")
	defer span.End()
	s := &fakeStore{}
	c, _ := testCluster(s)
	w := &writer{id: "a"}
	c.Enqueue(ctx, w.record(1, session.Attached), 0, w)
	if flushAll(c); len(s.saves) != 1 {
		t.Errorf("saved %v", s.saves)
	}
}
