package redis

import (
	"context"
	"net"
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// again repeats all operations until they work. Each connection of the pool may fail
// once, so it allows one attempt for each connection and one more.
func (s *harness) again(t *testing.T) {
	t.Helper()
	var err error
	for range poolSize + 1 {
		if err = s.tryAll(within(t)); err == nil {
			return
		}
	}
	t.Fatalf("still: %v", err)
}

// TestDemotedServer checks that connections to a demoted server are closed when it
// answers READONLY. Otherwise they would stay open to the demoted server, while its host
// name leads to the new master.
func TestDemotedServer(t *testing.T) {
	t.Parallel()
	other, server := redistest.Start(t), redistest.Start(t)
	s := open(t, server.URL(), nil)
	// go-redis has separate pools for single commands and for pipelines.
	single := func() uint32 { return s.client.PoolStats().TotalConns }
	pipelines := func() uint32 { return s.client.PoolStats().PipelineStats.TotalConns }
	operations := map[string]struct {
		run  func(ctx context.Context) error
		open func() uint32
	}{
		"save": {func(ctx context.Context) error {
			_, err := s.Save(ctx, []store.Record{record(idIn(0, 1)), record(idIn(9, 1))})
			return err
		}, pipelines},
		"acquire": {func(ctx context.Context) error {
			_, err := s.Acquire(ctx, store.AcquireRequest{Session: idIn(0, 1), Epoch: 1, Node: "a"})
			return err
		}, single},
		"sweep": {func(ctx context.Context) error {
			_, err := s.sweep(ctx, "a")
			return err
		}, pipelines},
	}
	s.allWork(t)
	s.saved(t, store.Done, record(idIn(0, 1)))
	host, port, err := net.SplitHostPort(other.Addr())
	must(t, err)
	other.Kill() // a running master would soon have the demoted server delete its sessions
	for name, operation := range operations {
		if operation.open() == 0 {
			t.Errorf("%s: no connection to lose", name)
		}
		server.Do("REPLICAOF", host, port)
		if err := operation.run(within(t)); err == nil || !strings.Contains(err.Error(), "READONLY") {
			t.Errorf("%s: %v, want READONLY", name, err)
		}
		if n := operation.open(); n != 0 {
			t.Errorf("%s: %d connections are left", name, n)
		}
		server.Do("REPLICAOF", "NO", "ONE")
		s.saved(t, store.Done, record(idIn(0, 1)))
		s.allWork(t)
	}
}

// TestSentinel replaces the master, once on command and once after a crash.
func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinel := redistest.StartSentinel(t)
	s := open(t, sentinel.URL(), nil)
	s.allWork(t)
	before := s.generationsNow(t)
	former := sentinel.Master()
	sentinel.Failover()
	s.again(t)
	saved, acquired := record("S"), record("T")
	s.saved(t, store.Done, acquired)
	for range 3 * poolSize { // no connection leads to the former master any more
		s.saved(t, store.Done, saved)
		saved.Version++
		s.acquired(t, "T", 1, "a")
	}
	for line := range strings.Lines(former.Do("CLIENT", "LIST")) {
		if strings.Contains(line, "cmd=eval") {
			t.Errorf("still at the former master: %s", line)
		}
	}
	between := s.generationsNow(t)
	sentinel.KillMaster()
	s.again(t)
	for shard, after := range s.generationsNow(t) {
		if before[shard] == between[shard] || between[shard] == after {
			t.Fatalf("shard %d was %q, %q and is %q: want another on each server", shard, before[shard], between[shard], after)
		}
	}
}
