package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/store"
)

func shardsOf(n int) *store.ShardSet {
	var some store.ShardSet
	for i := range n {
		some[i] = true
	}
	return &some
}

// An outage is logged again when it grows, since the first failed write only shows that its own
// shards are down.
func TestAnOutageThatGrowsIsLoggedAgain(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: prometheus.NewRegistry()})
	refused := errors.New("connection refused")
	for _, away := range []int{1, 1, 64, 64, 10, 64} {
		s.noteStoreAnswer(&store.ShardSet{}, shardsOf(away), refused)
	}
	s.noteStoreAnswer(store.AllShards(), &store.ShardSet{}, nil)
	s.noteStoreAnswer(&store.ShardSet{}, shardsOf(3), refused)
	var got []string
	for line := range strings.Lines(log.String()) {
		_, shards, warned := strings.Cut(line, "shards=")
		if shards, _, _ = strings.Cut(shards, " "); !warned {
			shards = "back"
		}
		got = append(got, shards)
	}
	if all := strings.Join(got, " "); all != "1 64 back 3" {
		t.Errorf("%s:\n%s", all, &log)
	}
}

func TestAShardThatReturnsDoesNotHideOneThatIsAway(t *testing.T) {
	s := New(Config{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	one, other := &store.ShardSet{0: true}, &store.ShardSet{1: true}
	for range 2000 {
		s.noteStoreAnswer(store.AllShards(), &store.ShardSet{}, nil)
		s.noteStoreAnswer(&store.ShardSet{}, one, errors.New("connection refused"))
		var both sync.WaitGroup
		both.Go(func() { s.noteStoreAnswer(one, &store.ShardSet{}, nil) })
		both.Go(func() { s.noteStoreAnswer(&store.ShardSet{}, other, errors.New("connection refused")) })
		both.Wait()
		if away, _, _ := s.pending.state(); away != 1 || !s.Degraded() {
			t.Fatalf("%d away, degraded %v", away, s.Degraded())
		}
	}
}
