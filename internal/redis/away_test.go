package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// fails expects every operation to fail within limit, and no record to be reported as
// saved.
func (s *harness) fails(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	records := []store.Record{record(idIn(0, 1)), record(idIn(40, 1)), record(idIn(0, 2))}
	records[1].Version = 2
	for name, operation := range map[string]func(ctx context.Context) error{
		"save": func(ctx context.Context) error {
			outcomes, err := s.Save(ctx, records)
			if len(outcomes) != len(records) {
				t.Errorf("%s: %d outcomes of %d records", what, len(outcomes), len(records))
			}
			for i, o := range outcomes {
				if o != (store.Outcome{}) {
					t.Errorf("%s: record %d: %+v", what, i, o)
				}
			}
			return err
		},
		"acquire": func(ctx context.Context) error {
			held, err := s.Acquire(ctx, store.AcquireRequest{Session: records[0].Session, Epoch: 1, Node: "a"})
			if held != (store.Acquired{}) {
				t.Errorf("%s: acquire: %+v", what, held)
			}
			return err
		},
		"wish": func(ctx context.Context) error {
			r, err := s.Wish(ctx, store.Wish{Session: records[0].Session})
			if r != (store.Record{}) || errors.Is(err, store.ErrNoSession) {
				t.Errorf("%s: wish: %+v, %v", what, r, err)
			}
			return err
		},
		"sweep": func(ctx context.Context) error {
			swept, err := s.Sweep(ctx, "nobody", store.Claim)
			errs := []error{err}
			for shard, found := range swept {
				if found.Err == nil || found.Generation != "" || len(found.Overdue) > 0 {
					t.Errorf("%s: shard %d: %+v", what, shard, found)
				}
				errs = append(errs, found.Err)
			}
			return errors.Join(errs...)
		},
		"list": func(ctx context.Context) error {
			ids, err := s.IDs(ctx, 0)
			if len(ids) > 0 {
				t.Errorf("%s: %d ids", what, len(ids))
			}
			return err
		},
		"list, read": func(ctx context.Context) error {
			read, err := s.Read(ctx, []string{records[0].Session})
			if len(read) > 0 {
				t.Errorf("%s: read %d", what, len(read))
			}
			return err
		},
		"list, get": func(ctx context.Context) error {
			_, there, err := s.Get(ctx, records[0].Session)
			if there {
				t.Errorf("%s: got a session", what)
			}
			return err
		},
		"nodes, set": func(ctx context.Context) error { return s.SetStatus(ctx, "a", "topic", "ready") },
		"nodes, get": func(ctx context.Context) error {
			statuses, err := s.Statuses(ctx, "topic")
			if len(statuses) > 0 {
				t.Errorf("%s: statuses %v", what, statuses)
			}
			return err
		},
		"revocations, put": func(ctx context.Context) error { return s.PutRevocations(ctx, revocation("R"), revocation("S")) },
		"revocations, read": func(ctx context.Context) error {
			all, version, err := s.Revocations(ctx, store.RevocationsVersion{})
			if len(all) > 0 || version != (store.RevocationsVersion{}) {
				t.Errorf("%s: %d revocations of version %v", what, len(all), version)
			}
			return err
		},
		"revocations, ended": func(ctx context.Context) error { return s.PutEnded(ctx, revocation("R"), "a", store.Ended{}) },
		"revocations, progress": func(ctx context.Context) error {
			_, err := s.RevocationProgress(ctx, "R")
			return err
		},
	} {
		label, _, _ := strings.Cut(name, ",")
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		before := testutil.ToFloat64(s.metrics.failed.WithLabelValues(label))
		began := time.Now()
		err := operation(ctx)
		if err == nil {
			t.Errorf("%s: %s: no error", what, name)
		}
		// A busy machine may take twice as long.
		if took := time.Since(began); took > limit+max(limit, time.Second) {
			t.Errorf("%s: %s took %s, want %s", what, name, took, limit)
		}
		if after := testutil.ToFloat64(s.metrics.failed.WithLabelValues(label)); after != before+1 {
			t.Errorf("%s: %s: %v errors are counted, want %v", what, name, after, before+1)
		}
		cancel()
	}
}

// TestAway checks that operations fail within their time limit while the store is
// unreachable, whatever the cause, and work again afterwards.
func TestAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	direct, through := open(t, server.UnixURL(), nil), open(t, "redis://"+proxy.Addr(), nil)
	for _, away := range []struct {
		what        string
		s           *harness
		limit       time.Duration
		fails, back func()
	}{
		{"never reached", direct, 5 * time.Second, server.Kill, server.Restart},
		{"killed", direct, 5 * time.Second, server.Kill, server.Restart},
		{"paused", direct, 300 * time.Millisecond, server.Pause, server.Continue},
		{"no answer to the first connection", through, 300 * time.Millisecond, proxy.Blackhole, proxy.Heal},
		{"no answer", through, 300 * time.Millisecond, proxy.Blackhole, proxy.Heal},
		{"cut", through, 5 * time.Second, proxy.Cut, proxy.Heal},
		{"slow", through, 300 * time.Millisecond, func() { proxy.Slow(700 * time.Millisecond) }, proxy.Heal},
	} {
		away.fails()
		away.s.fails(t, away.what, away.limit)
		away.back()
		away.s.again(t)
	}
}

// TestCancelled expects operations to end when their context is cancelled.
func TestCancelled(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Start(t).URL(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Save(ctx, []store.Record{record("S")}); !errors.Is(err, context.Canceled) {
		t.Errorf("save: %v", err)
	}
	if _, err := s.Acquire(ctx, store.AcquireRequest{Session: "S", Epoch: 1, Node: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("acquire: %v", err)
	}
	if _, err := s.sweep(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("sweep: %v", err)
	}
	if err := s.Watch(ctx, "a", func() {}, func(string) {}); err != nil {
		t.Errorf("watch: %v", err)
	}
	if err := s.WatchRevocations(ctx, func(store.RevocationsChange) {}); err != nil {
		t.Errorf("watch revocations: %v", err)
	}
	for name, err := range map[string]error{
		"list":        func() error { _, err := s.IDs(ctx, 1); return err }(),
		"revocations": s.PutRevocations(ctx, revocation("R")),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.allWork(t)
}

// TestClosed expects operations after Close to fail, and running operations to end.
func TestClosed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openUnclosed(t, server.URL(), nil)
	s.allWork(t)
	connected, watched := make(chan struct{}), make(chan error)
	go func() { watched <- s.Watch(within(t), "a", func() { close(connected) }, func(string) {}) }()
	await(t, connected)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.fails(t, "closed", 5*time.Second)
	if err := s.Watch(within(t), "b", func() { t.Error("connected") }, func(string) {}); err == nil {
		t.Error("watch: no error")
	}
	if err := s.WatchRevocations(within(t), func(store.RevocationsChange) { t.Error("connected") }); err == nil {
		t.Error("watch revocations: no error")
	}
	server.Kill()
	if err := await(t, watched); err == nil {
		t.Error("watch, under way: no error")
	}
}
