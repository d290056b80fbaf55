package redis

import (
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

// TestCluster uses one cluster for all its subtests; the last subtest breaks it.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	t.Run("conformance", func(t *testing.T) { storetest.Conformance(t, opener(c.URL())) })
	t.Run("spread", func(t *testing.T) { clusterSpread(t, c) })
	t.Run("ACL", func(t *testing.T) { clusterACL(t, c) })
	t.Run("watch", func(t *testing.T) { clusterWatch(t, c) })
	t.Run("eviction", func(t *testing.T) { clusterEviction(t, c) })
	t.Run("failover", func(t *testing.T) { clusterFailover(t, c) })
}

// byMaster returns the shards of each master.
func (s *harness) byMaster(c *redistest.Cluster) map[*redistest.Server][]int {
	masters := make(map[*redistest.Server][]int)
	for shard := range store.Shards {
		server := c.MasterOf(s.keys.due[shard])
		masters[server] = append(masters[server], shard)
	}
	return masters
}

// clusterSpread checks that every master has some of the shards, and that all keys of a
// shard are in one slot.
func clusterSpread(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), nil)
	s.allWork(t)
	masters := s.byMaster(c)
	if len(masters) != 3 {
		t.Errorf("the shards are on %d masters", len(masters))
	}
	for server, shards := range masters {
		if len(shards) < store.Shards/6 {
			t.Errorf("%s has %d shards", server.Addr(), len(shards))
		}
		for _, shard := range shards {
			for _, key := range []string{s.keys.generation[shard], s.keys.session(shard, "{S}")} {
				if c.MasterOf(key) != server {
					t.Errorf("%s is not where the rest of its shard is", key)
				}
			}
		}
	}
}

func clusterACL(t *testing.T, c *redistest.Cluster) {
	for _, server := range c.Servers {
		server.Do(append([]string{"ACL", "SETUSER", "limited", "reset", "on", ">secret"}, strings.Fields(acl+" "+aclCluster)...)...)
	}
	s := open(t, strings.Replace(c.URL(), "://", "://limited:secret@", 1), nil)
	s.allWork(t)
	if err := s.rareWork(t, c.MasterOf(s.keys.due[rareShard])); err != nil {
		t.Error(err)
	}
	for _, server := range c.Servers {
		if denied := server.Do("ACL", "LOG"); denied != "" {
			t.Errorf("denied:\n%s", denied)
		}
	}
}

// clusterWatch checks that notices arrive from every master.
func clusterWatch(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), nil)
	// The test uses a separate node, since notices for the other nodes may still be
	// passing from one master to the next.
	w := s.watching(t, "watcher")
	for _, shards := range s.byMaster(c) {
		id := idIn(shards[0], 4)
		s.take(t, id, "watcher", "b")
		if got := await(t, w.notices); got != id {
			t.Errorf("told of %s, want %s", got, id)
		}
	}
	w.ended(t)
}

// clusterEviction checks that a warning names the one master that may evict sessions.
func clusterEviction(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), nil)
	c.MasterOf(s.keys.due[0]).Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
	for range 3 {
		s.swept(t, "onlooker")
	}
	if lines := s.log.lines(evicting); len(lines) != 1 {
		t.Error(lines)
	}
}

// clusterFailover kills the one of three masters that also stores the leases.
func clusterFailover(t *testing.T, c *redistest.Cluster) {
	s := open(t, c.URL(), nil)
	s.again(t)
	before := s.generationsNow(t)
	masters := s.byMaster(c)
	dead := c.MasterOf(s.keys.leases)
	var late, records []store.Record
	for shard := range store.Shards {
		late, records = append(late, overdue(idIn(shard, 6))), append(records, record(idIn(shard, 5)))
	}
	s.saved(t, store.Done, late...)
	dead.Kill()
	swept, err := s.Sweep(within(t), "b", store.Claim)
	if err == nil {
		t.Error("the lease was renewed")
	}
	for shard, found := range swept {
		if len(found.Overdue) > 0 {
			t.Errorf("shard %d: claimed without a lease: %d", shard, len(found.Overdue))
		}
	}
	outcomes, err := s.Save(within(t), records)
	if err == nil {
		t.Error("saved, with a master gone")
	}
	for server, shards := range masters {
		for _, shard := range shards {
			switch v := outcomes[shard].Action; {
			case server == dead && v != store.Retry:
				t.Errorf("shard %d of the master that is gone: action %d", shard, v)
			// The other masters also stop once they know that a master is gone: see
			// cluster-require-full-coverage.
			case server != dead && v != store.Done && !strings.Contains(err.Error(), "CLUSTERDOWN"):
				t.Errorf("shard %d of another master: action %d, %v", shard, v, err)
			}
		}
	}
	c.AwaitFailover(dead)
	s.again(t)
	after := s.generationsNow(t)
	for server, shards := range masters {
		for _, shard := range shards {
			if (after[shard] == before[shard]) == (server == dead) {
				t.Errorf("shard %d was %q and is %q", shard, before[shard], after[shard])
			}
		}
	}
}
