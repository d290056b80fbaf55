package redis

import (
	"strconv"
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// generationsNow returns the generations of all shards.
func (s *harness) generationsNow(t *testing.T) (names [store.Shards]string) {
	t.Helper()
	for shard, found := range s.doing(t, "onlooker", store.Claim) {
		if found.Err != nil {
			t.Fatal(found.Err)
		}
		names[shard] = found.Generation
	}
	return names
}

// TestGeneration checks that a shard's generation changes when data may be lost, and only
// then.
func TestGeneration(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	was := s.generationsNow(t)
	same := func(what string) {
		t.Helper()
		if s.generationsNow(t) != was {
			t.Errorf("%s: the generations are others", what)
		}
	}
	changed := func(what string) {
		t.Helper()
		now := s.generationsNow(t)
		for shard := range now {
			if now[shard] == was[shard] || now[shard] == "" {
				t.Errorf("%s: shard %d was %q and is %q", what, shard, was[shard], now[shard])
			}
		}
		was = now
	}
	same("nothing")
	s.allWork(t)
	same("all operations")
	server.Do("SCRIPT", "FLUSH")
	server.Do("CLIENT", "KILL", "TYPE", "normal")
	same("connections lost")
	other := open(t, server.UnixURL(), nil)
	if other.generationsNow(t) != was {
		t.Error("another node sees other generations")
	}
	s.doing(t, "onlooker", store.Leave)
	same("leaving")
	server.Do("FLUSHALL")
	changed("FLUSHALL")
	server.Kill()
	server.Restart()
	changed("a restart without the data")
	same("nothing, after that")
	server.Do("DEL", s.keys.generation[5])
	for shard, name := range s.generationsNow(t) {
		if (name == was[shard]) != (shard != 5) {
			t.Errorf("one removed by hand: shard %d was %q and is %q", shard, was[shard], name)
		}
	}
}

// TestGenerationOfRestart restarts a server with its data. The generations change, since
// the last writes may be lost even then.
func TestGenerationOfRestart(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "appendonly yes", "appendfsync always")
	s := open(t, server.UnixURL(), nil)
	was := s.generationsNow(t)
	server.Kill()
	server.Restart()
	now := s.generationsNow(t)
	for shard := range now {
		before, _, _ := strings.Cut(was[shard], " ")
		after, _, _ := strings.Cut(now[shard], " ")
		if before != after || was[shard] == now[shard] {
			t.Fatalf("shard %d was %q and is %q: want the same life on another server", shard, was[shard], now[shard])
		}
	}
	keys, err := strconv.Atoi(server.Do("DBSIZE"))
	if err != nil || keys < store.Shards {
		t.Errorf("%d keys, %v", keys, err)
	}
}
