package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

func TestMain(m *testing.M) {
	// After many failed dials a connection pool of go-redis dials once a second in the
	// background. Its goroutine notices at the next dial that the pool was closed, so it can still
	// run after the tests.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

const patience = 20 * time.Second

// begin is the time at which the clocks of stores made by openAt start. It is in the year 2100,
// so that a test fails if a script uses the server's clock by mistake.
var begin = time.UnixMilli(4_102_444_800_000)

type harness struct {
	*Store
	registry *prometheus.Registry
	log      *logBuffer

	mu    sync.Mutex
	now   time.Time // guarded by mu
	tried uint64    // number of calls of tryAll; only the test's own goroutine uses this field
}

func open(t testing.TB, url string, change func(*Config)) *harness {
	t.Helper()
	s := &harness{registry: prometheus.NewRegistry(), log: &logBuffer{}}
	c := Config{Apps: storetest.Apps, URL: url, Logger: slog.New(slog.NewTextHandler(s.log, nil)), Registerer: s.registry}
	if change != nil {
		change(&c)
	}
	var err error
	s.Store, err = New(c)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openAt makes a Store with its own clock, which stands still at `begin` until the test calls
// pass.
func openAt(t testing.TB, url string) *harness {
	t.Helper()
	var s *harness
	s = open(t, url, func(c *Config) { c.now = func() time.Time { return s.clock() } })
	s.now = begin
	return s
}

func (s *harness) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *harness) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func startStore(t testing.TB) (*redistest.Server, *harness) {
	t.Helper()
	server := redistest.Start(t)
	return server, open(t, server.UnixURL(), nil)
}

func startAt(t testing.TB) (*redistest.Server, *harness) {
	t.Helper()
	server := redistest.Start(t)
	return server, openAt(t, server.UnixURL())
}

func (s *harness) hash(id string) string { return s.keys.session(store.ShardOf(id), id) }
func (s *harness) due(id string) string  { return s.keys.due[store.ShardOf(id)] }

func (s *harness) saved(t testing.TB, want store.Action, records ...store.Record) {
	t.Helper()
	outcomes, err := s.Save(within(t), records)
	must(t, err)
	for i, o := range outcomes {
		if o.Action != want {
			t.Fatalf("save %s: action %d, want %d", records[i].Session, o.Action, want)
		}
	}
}

func (s *harness) acquired(t testing.TB, id string, epoch uint64, node string) store.Acquired {
	t.Helper()
	held, err := s.Acquire(within(t), store.AcquireRequest{Session: id, Epoch: epoch, Node: node, Attach: true})
	must(t, err)
	return held
}

func (s *harness) wantUnreadable(t testing.TB, what, id string, epoch uint64) {
	t.Helper()
	held, err := s.Acquire(within(t), store.AcquireRequest{Session: id, Epoch: epoch, Node: "b", Attach: true})
	if !errors.Is(err, store.ErrUnreadable) || held != (store.Acquired{}) {
		t.Errorf("%s: acquire: %+v, %v", what, held, err)
	}
}

// keptForLong makes the lease data look old, since a sweep claims nothing while the data is
// new. It ignores errors, since some tests make the server fail.
func (s *harness) keptForLong(ctx context.Context) {
	_ = s.client.ZAdd(ctx, s.keys.leases, goredis.Z{Score: -1, Member: leasesSince}).Err()
}

func (s *harness) doing(t testing.TB, node string, do store.Doing) [store.Shards]store.Swept {
	t.Helper()
	swept, err := s.Sweep(within(t), node, do)
	must(t, err)
	return swept
}

func (s *harness) sweep(ctx context.Context, node string) (claimed map[string]store.Record, err error) {
	s.keptForLong(ctx)
	swept, err := s.Sweep(ctx, node, store.Claim)
	claimed = make(map[string]store.Record)
	for shard, found := range swept {
		if found.Err != nil && err == nil {
			err = fmt.Errorf("shard %d: %w", shard, found.Err)
		}
		for _, r := range found.Overdue {
			claimed[r.Session] = r
		}
	}
	return claimed, err
}

func (s *harness) swept(t testing.TB, node string) map[string]store.Record {
	t.Helper()
	claimed, err := s.sweep(within(t), node)
	must(t, err)
	return claimed
}

func (s *harness) generations(t testing.TB) (names [store.Shards]string) {
	t.Helper()
	for shard, found := range s.doing(t, "onlooker", store.Claim) {
		must(t, found.Err)
		names[shard] = found.Generation
	}
	return names
}

func (s *harness) allWork(t testing.TB) {
	t.Helper()
	must(t, s.tryAll(within(t)))
}

// again repeats the main operations until they work. Each connection of the pool may fail
// once, so it allows one attempt for each connection and one more.
func (s *harness) again(t testing.TB) {
	t.Helper()
	var err error
	for range poolSize + 1 {
		if err = s.tryAll(within(t)); err == nil {
			return
		}
	}
	t.Fatalf("still: %v", err)
}

func (s *harness) tryAll(ctx context.Context) error {
	var first, last []store.Record
	for shard := range store.Shards {
		r := overdue(idIn(shard, 0))
		r.Epoch, r.Proven = 10*s.tried+1, 10*s.tried+1 // higher than the epochs that an earlier, failed call of tryAll may have saved
		first = append(first, r)
		r.Epoch, r.Proven, r.Node = r.Epoch+1, r.Epoch, "b"
		r.State, r.Reason, r.Delivered = session.Ended, session.EndExpired, store.DeliveredEnd
		last = append(last, r)
	}
	s.tried++
	if err := s.trySave(ctx, first); err != nil {
		return err
	}
	claimed, err := s.sweep(ctx, "b")
	if err != nil || len(claimed) < len(first) {
		return fmt.Errorf("sweep: claimed %d, %w", len(claimed), err)
	}
	for _, r := range first {
		if held, err := s.Acquire(ctx, store.AcquireRequest{Session: r.Session, Epoch: r.Epoch, Node: "b", Attach: true}); err != nil || held.Record.Node != "b" {
			return fmt.Errorf("acquire: %+v, %w", held, err)
		}
	}
	if listed, _, err := store.List(ctx, s, store.ListQuery{Limit: store.ListLimit}); err != nil || len(listed) < len(first) {
		return fmt.Errorf("list: %d sessions, %w", len(listed), err)
	}
	if err := s.PutRevocations(ctx, revocation("tried")); err != nil {
		return err
	}
	if all, _, _, err := s.Revocations(ctx, store.RevocationsVersion{}); err != nil || len(all) == 0 {
		return fmt.Errorf("revocations: %d, %w", len(all), err)
	}
	return s.trySave(ctx, last)
}

func (s *harness) trySave(ctx context.Context, records []store.Record) error {
	outcomes, err := s.Save(ctx, records)
	for i, o := range outcomes {
		if err == nil && o.Action != store.Done {
			err = fmt.Errorf("%s: action %d", records[i].Session, o.Action)
		}
	}
	return err
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func await[T any](t testing.TB, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-within(t).Done():
		t.Fatal("nothing came")
	}
	return got
}

func idIn(shard, n int) string { return storetest.InShard(shard, n+1)[n] }

func record(id string) store.Record {
	who := session.Identity{
		RTC: &session.RTC{Channel: "consultation-58213", UID: 2882341273, Role: session.Publisher},
		RTM: &session.RTM{UserID: "doctor-17"},
	}
	r := storetest.Joined(id, "a", who, begin)
	r.Due = session.MilliOf(begin) + 3_000_000
	return r
}

func overdue(id string) store.Record {
	r := record(id)
	r.Due = 1_000_000_000_000
	return r
}

func revocation(id string) store.Revocation {
	return store.Revocation{
		Selector: store.Selector{App: record("").App, Channel: "consultation-58213"}, ID: id,
		Since: session.MilliOf(begin), Until: session.SecOf(begin) + 3600, Version: 1,
	}
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) lines(text string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

func must(t interface {
	Helper()
	Fatal(args ...any)
}, err error,
) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
