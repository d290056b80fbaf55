package scheduler

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// shardsOf is the set of the first n.
func shardsOf(n int) *shards {
	var some shards
	for i := range n {
		some[i] = true
	}
	return &some
}

// The first write that fails knows of its own shards alone; the log is not to say
// for ever that one was away when all were.
func TestAnOutageThatGrowsIsLoggedAgain(t *testing.T) {
	var log bytes.Buffer
	c := testConfig(t)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("connection refused")
	for _, away := range []int{1, 1, 64, 64, 10, 64} {
		s.storeAnswered(&shards{}, shardsOf(away), refused)
	}
	s.storeAnswered(allShards(), &shards{}, nil)
	s.storeAnswered(&shards{}, shardsOf(3), refused)
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

// One shard comes back in the moment in which another goes: the store is degraded.
func TestAShardThatReturnsDoesNotHideOneThatIsAway(t *testing.T) {
	s, err := New(testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	one, other := &shards{0: true}, &shards{1: true}
	for range 2000 {
		s.storeAnswered(allShards(), &shards{}, nil)
		s.storeAnswered(&shards{}, one, errors.New("connection refused"))
		var both sync.WaitGroup
		both.Go(func() { s.storeAnswered(one, &shards{}, nil) })
		both.Go(func() { s.storeAnswered(&shards{}, other, errors.New("connection refused")) })
		both.Wait()
		if away, _, _ := s.outbox.state(); away != 1 || !s.Degraded() {
			t.Fatalf("%d away, degraded %v", away, s.Degraded())
		}
	}
}
