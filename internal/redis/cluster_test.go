package redis

import (
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

const aclCluster = " +cluster|slots +command"

// TestCluster uses one cluster for all its subtests; the last subtest breaks it. Each server
// has a certificate for its own address alone, and requires a client certificate.
func TestCluster(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	c := redistest.StartClusterTLS(t, a)
	t.Run("spread", func(t *testing.T) { clusterSpread(t, c, open(t, c.URL(), secured(a))) })
	t.Run("failover", func(t *testing.T) { clusterFailover(t, c, open(t, c.URL(), secured(a))) })
}

func TestClusterConforms(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	conforms(t, c.URL(), acl+aclCluster, c.Servers...)
}

func (s *harness) byMaster(c *redistest.Cluster) map[*redistest.Server][]int {
	masters := make(map[*redistest.Server][]int)
	for shard := range store.Shards {
		server := c.MasterOf(s.keys.due[shard])
		masters[server] = append(masters[server], shard)
	}
	return masters
}

// clusterSpread checks that every master has some of the shards, that all keys of a shard are
// on one master, and that notices arrive from every master.
func clusterSpread(t *testing.T, c *redistest.Cluster, s *harness) {
	masters := s.byMaster(c)
	if len(masters) != 3 {
		t.Errorf("the shards are on %d masters", len(masters))
	}
	w := s.watching(t, "watcher")
	for server, shards := range masters {
		if len(shards) < store.Shards/6 {
			t.Errorf("%s has %d shards", server.Addr(), len(shards))
		}
		for _, shard := range shards {
			if c.MasterOf(s.keys.generation[shard]) != server || c.MasterOf(s.keys.session(shard, "{S}")) != server {
				t.Errorf("the keys of shard %d are not on one master", shard)
			}
		}
		id := idIn(shards[0], 4)
		s.take(t, id, "watcher", "b")
		if got := await(t, w.notices); got != id {
			t.Errorf("told of %s, want %s", got, id)
		}
	}
	w.ended(t)
}

// clusterFailover kills one of the three masters: the one that stores the nodes' leases, too.
func clusterFailover(t *testing.T, c *redistest.Cluster, s *harness) {
	before := s.generations(t)
	masters := s.byMaster(c)
	dead := c.MasterOf(s.keys.leases)
	var late, records []store.Record
	for shard := range store.Shards {
		late, records = append(late, overdue(idIn(shard, 6))), append(records, record(idIn(shard, 5)))
	}
	s.saved(t, store.Done, late...)
	dead.Kill()
	if claimed, err := s.sweep(within(t), "b"); err == nil || len(claimed) > 0 {
		t.Errorf("claimed %d without a lease, %v", len(claimed), err)
	}
	outcomes, err := s.Save(within(t), records)
	if err == nil {
		t.Fatal("saved, with a master gone")
	}
	// The other masters also refuse commands once they know that a master is gone: that is
	// Redis's default, cluster-require-full-coverage.
	down := strings.Contains(err.Error(), "CLUSTERDOWN")
	for server, shards := range masters {
		for _, shard := range shards {
			action := outcomes[shard].Action
			if server == dead && action != store.Retry || server != dead && action != store.Done && !down {
				t.Errorf("shard %d of %s: action %d, %v", shard, server.Addr(), action, err)
			}
		}
	}
	c.AwaitFailover(dead)
	s.again(t)
	after := s.generations(t)
	for server, shards := range masters {
		for _, shard := range shards {
			if (after[shard] == before[shard]) == (server == dead) {
				t.Errorf("shard %d was %q and is %q", shard, before[shard], after[shard])
			}
		}
	}
}
