package redis

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// fails runs all operations concurrently. It expects each operation to fail, to return no
// result and to be counted as an error. It returns the duration of the slowest operation.
func (s *harness) fails(ctx context.Context, t *testing.T, what string) (slowest time.Duration) {
	t.Helper()
	records := []store.Record{record(idIn(0, 1)), record(idIn(40, 1)), record(idIn(0, 2))}
	records[1].Version = 2
	id, r := records[0].Session, revocation("R")
	operations := map[string]func() (result bool, err error){
		"save": func() (bool, error) {
			outcomes, err := s.Save(ctx, records)
			return len(outcomes) != 3 || outcomes[0] != store.Outcome{} || outcomes[1] != store.Outcome{} || outcomes[2] != store.Outcome{}, err
		},
		"acquire": func() (bool, error) {
			held, err := s.Acquire(ctx, store.AcquireRequest{Session: id, Epoch: 1, Node: "a"})
			return held != store.Acquired{}, err
		},
		"wish": func() (bool, error) {
			r, err := s.Wish(ctx, store.Wish{Session: id})
			return r != store.Record{} || errors.Is(err, store.ErrNoSession), err
		},
		"sweep": func() (result bool, err error) {
			swept, err := s.Sweep(ctx, "nobody", store.Claim)
			for _, found := range swept {
				result = result || found.Err == nil || found.Generation != "" || len(found.Overdue) > 0
			}
			return result, err
		},
		"list": func() (bool, error) {
			ids, err := s.IDs(ctx, 0)
			return len(ids) > 0, err
		},
		"list, read": func() (bool, error) {
			read, err := s.Read(ctx, []string{id})
			return len(read) > 0, err
		},
		"list, get": func() (bool, error) {
			_, there, err := s.Get(ctx, id)
			return there, err
		},
		"nodes, set": func() (bool, error) { return false, s.SetStatus(ctx, "a", "topic", "ready") },
		"nodes, get": func() (bool, error) {
			statuses, err := s.Statuses(ctx, "topic")
			return len(statuses) > 0, err
		},
		"revocations, put": func() (bool, error) { return false, s.PutRevocations(ctx, r, revocation("S")) },
		"revocations, read": func() (bool, error) {
			all, _, version, err := s.Revocations(ctx, store.RevocationsVersion{})
			return len(all) > 0 || version != store.RevocationsVersion{}, err
		},
		"revocations, ended": func() (bool, error) { return false, s.PutEnded(ctx, r, "a", store.Ended{}) },
		"revocations, progress": func() (bool, error) {
			_, err := s.RevocationProgress(ctx, "R")
			return false, err
		},
	}
	counts := make(map[string]float64)
	for name := range operations {
		operation, _, _ := strings.Cut(name, ",")
		if _, counted := counts[operation]; !counted {
			counts[operation] = testutil.ToFloat64(s.metrics.failed.WithLabelValues(operation))
		}
		counts[operation]++
	}
	began := time.Now()
	var all sync.WaitGroup
	for name, operation := range operations {
		all.Go(func() {
			if result, err := operation(); result || err == nil {
				t.Errorf("%s: %s: a result %v, error %v", what, name, result, err)
			}
		})
	}
	all.Wait()
	for operation, want := range counts {
		if got := testutil.ToFloat64(s.metrics.failed.WithLabelValues(operation)); got != want {
			t.Errorf("%s: %s: %v errors are counted, want %v", what, operation, got, want)
		}
	}
	return time.Since(began)
}

func TestOperationsFailInTimeWhileTheStoreIsAway(t *testing.T) {
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
		{"slow", through, 300 * time.Millisecond, func() { proxy.Slow(700 * time.Millisecond) }, proxy.Heal},
	} {
		away.fails()
		ctx, cancel := context.WithTimeout(t.Context(), away.limit)
		took := away.s.fails(ctx, t, away.what)
		cancel()
		// On a busy machine an operation may take twice its limit.
		if took > away.limit+max(away.limit, time.Second) {
			t.Errorf("%s: took %s, want %s", away.what, took, away.limit)
		}
		away.back()
		away.s.again(t)
	}
}

func TestOperationsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	_, s := startStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.fails(ctx, t, "cancelled")
	if err := s.Watch(ctx, "a", func() {}, func(string) {}); err != nil {
		t.Errorf("watch: %v", err)
	}
	if err := s.WatchRevocations(ctx, func(store.RevocationsChange) {}); err != nil {
		t.Errorf("watch revocations: %v", err)
	}
	s.allWork(t)
}

func TestOperationsFailAfterClose(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	w := s.watching(t, "a")
	must(t, s.Close())
	s.fails(within(t), t, "closed")
	if err := s.Watch(within(t), "b", func() {}, func(string) {}); err == nil {
		t.Error("watch: no error")
	}
	if err := s.WatchRevocations(within(t), func(store.RevocationsChange) {}); err == nil {
		t.Error("watch revocations: no error")
	}
	server.Kill()
	if err := await(t, w.done); err == nil {
		t.Error("watch, under way: no error")
	}
}
