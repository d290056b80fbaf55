package redis

import (
	"context"
	"net"
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// TestDemotedServer checks that connections to a demoted server are closed when it answers
// READONLY. Otherwise they would stay open to the demoted server, while its host name leads to the
// new master. go-redis has separate connection pools for single commands and for pipelines, so the
// test checks both.
func TestDemotedServer(t *testing.T) {
	t.Parallel()
	other, server := redistest.Start(t), redistest.Start(t)
	s := open(t, server.URL(), nil)
	host, port, err := net.SplitHostPort(other.Addr())
	must(t, err)
	other.Kill() // otherwise the demoted server would soon replace its own sessions by the data of this new master
	for name, operation := range map[string]struct {
		run  func(ctx context.Context) error
		open func() uint32
	}{
		"save": {func(ctx context.Context) error {
			return s.trySave(ctx, []store.Record{record("S"), record("T")})
		}, func() uint32 { return s.client.PoolStats().PipelineStats.TotalConns }},
		"acquire": {func(ctx context.Context) error {
			_, err := s.Acquire(ctx, store.AcquireRequest{Session: "S", Epoch: 1, Node: "a"})
			return err
		}, func() uint32 { return s.client.PoolStats().TotalConns }},
	} {
		s.allWork(t)
		s.saved(t, store.Done, record("S"))
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
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	sentinel := redistest.StartSentinelTLS(t, a)
	s := open(t, sentinel.URL(), secured(a))
	s.allWork(t)
	before := s.generations(t)
	former := sentinel.Master()
	sentinel.Failover()
	s.again(t)
	saved := record("S")
	for range 3 * poolSize { // uses every connection of the pool, to show that none leads to the former master
		s.saved(t, store.Done, saved)
		saved.Version++
	}
	for line := range strings.Lines(former.Do("CLIENT", "LIST")) {
		if strings.Contains(line, "cmd=eval") {
			t.Errorf("still at the former master: %s", line)
		}
	}
	between := s.generations(t)
	sentinel.KillMaster()
	s.again(t)
	if after := s.generations(t); before[0] == between[0] || between[0] == after[0] {
		t.Errorf("the generation was %q, %q and is %q: want another on each server", before[0], between[0], after[0])
	}
}
