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
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer is a session that records which of its versions the store has saved.
type writer struct {
	id    string
	saved []uint64 // the saved versions, oldest first
}

func (w *writer) Acknowledge(r *store.Record, o store.Outcome) {
	if o.Action == store.Done {
		w.saved = append(w.saved, r.Version)
	}
}

// record returns the writer's record with this version.
func (w *writer) record(version uint64, state session.State) *store.Record {
	return &store.Record{Record: session.Record{ResumeClaims: session.ResumeClaims{Session: w.id}, State: state}, Version: version}
}

// flaky is a store whose operations fail when a test makes them fail.
type flaky struct {
	Store

	away    bool
	batches []int // the number of records in each call of Save
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

// rewritten is a Node that records the shards given to SaveAllAgain.
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

// flushAll makes all waiting records due and saves one batch of them.
func flushAll(c *Cluster) (more bool) {
	c.pending.makeAllDue()
	return c.flush()
}

// The newest record of each session is saved once, even if older records were enqueued before and
// the store failed several times.
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
					c.Enqueue(context.Background(), w.record(newest[w], session.State(i%3)), 0, w)
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

// When a shard is reachable again, all its sessions are saved again. Sessions of other shards are
// not.
func TestShardThatIsBackIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &flaky{away: true}
		c, n := testCluster(s)
		w := &writer{id: "a"}
		c.Enqueue(context.Background(), w.record(1, session.Attached), 0, w)
		flushAll(c)
		if c.pending.shardUp("a") || !c.Degraded() {
			t.Error("the shard does not count as away")
		}
		s.away = false
		if flushAll(c); len(s.batches) != 1 {
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

// A batch has at most shardBatch records of a shard. The memory needed for a reconnect storm is
// freed.
func TestBatchesAreBounded(t *testing.T) {
	s := &flaky{}
	c, _ := testCluster(s)
	const storm = 2 * roomKept
	for i := range storm {
		w := &writer{id: fmt.Sprint(i)}
		c.Enqueue(context.Background(), w.record(1, session.Attached), 0, w)
	}
	sum := 0
	for flushAll(c) {
	}
	for _, n := range s.batches {
		sum += n
	}
	if sum != storm || slices.Max(s.batches) > shardBatch*store.Shards || len(s.batches) < 3 || c.pending.most != 0 {
		t.Errorf("%d records in batches of %v", sum, s.batches)
	}
}

// If too many records of ended sessions wait, further ones are dropped and counted. Records of open
// sessions are still accepted.
func TestTooManyEndsAreDropped(t *testing.T) {
	c, _ := testCluster(&flaky{away: true})
	c.pending.ended = maxEnded
	w := &writer{id: "a"}
	if c.Enqueue(context.Background(), w.record(2, session.Ended), 0, w) || !c.Enqueue(context.Background(), w.record(1, session.Attached), 0, w) {
		t.Error("the wrong one was dropped")
	}
	if _, waiting, dropped := c.pending.state(); waiting != 1 || dropped != 1 {
		t.Errorf("%d wait, %d dropped", waiting, dropped)
	}
}

// saveAgain is a session that enqueues its record again when the store answers RaiseEpoch.
type saveAgain struct {
	writer
	cluster *Cluster
}

func (w *saveAgain) Acknowledge(r *store.Record, o store.Outcome) {
	if o.Action == store.RaiseEpoch {
		time.Sleep(time.Millisecond) // bubble: as if the session's lock were held for a millisecond
		w.cluster.Enqueue(context.Background(), w.record(r.Version+1, r.State), 0, w)
	}
}

// raising is a store that answers RaiseEpoch once for each session.
type raising struct {
	flaky
	saved []uint64 // the saved versions
	left  bool
}

func (r *raising) Save(_ context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	for i := range records {
		outcomes[i].Action = store.Done
		if records[i].Version == 1 {
			outcomes[i].Action = store.RaiseEpoch
			continue
		}
		r.saved = append(r.saved, records[i].Version)
	}
	return outcomes, nil
}

func (r *raising) Sweep(_ context.Context, _ string, do store.Doing) (swept [store.Shards]store.Swept, err error) {
	r.left = r.left || do == store.Leave
	return swept, nil
}

func (*raising) Watch(ctx context.Context, _ string, _ func(), _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}

// When a node stops, it also saves the records that the store's last answers require, such as a
// session's end under a higher epoch. Otherwise the session's key could still open it. The answers
// may come just before the stop, when no other record waits.
func TestRunSavesWhatTheLastAnswersAskFor(t *testing.T) {
	for _, runs := range []time.Duration{0, gatherFor + time.Microsecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &raising{}
			c, n := testCluster(s)
			w := &saveAgain{writer{id: "a"}, c}
			c.Enqueue(context.Background(), w.record(1, session.Ended), 0, w)
			ctx, cancel := context.WithTimeout(t.Context(), runs)
			defer cancel()
			c.Run(ctx, n)
			if !slices.Equal(s.saved, []uint64{2}) || !s.left {
				t.Errorf("stopped after %s: saved %v, gave the lease up: %v", runs, s.saved, s.left)
			}
		})
	}
}

// Records are saved even if a sampler records a renewal but not its child spans.
func TestRecordsOfAnUnsampledTrace(t *testing.T) {
	provider := sdk.NewTracerProvider(sdk.WithSampler(rootsOnly{}))
	ctx, span := provider.Tracer("test").Start(context.Background(), "renewal")
	defer span.End()
	s := &flaky{}
	c, _ := testCluster(s)
	for _, id := range []string{"a", "b"} {
		w := &writer{id: id}
		c.Enqueue(ctx, w.record(1, session.Attached), 0, w)
	}
	if flushAll(c); !slices.Equal(s.batches, []int{2}) {
		t.Errorf("saved %v", s.batches)
	}
}

type rootsOnly struct{}

func (rootsOnly) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if trace.SpanContextFromContext(p.ParentContext).IsValid() {
		return sdk.SamplingResult{Decision: sdk.Drop}
	}
	return sdk.SamplingResult{Decision: sdk.RecordAndSample}
}

func (rootsOnly) Description() string { return "roots only" }
