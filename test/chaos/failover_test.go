package chaos

import (
	"testing"
	"time"

	"refresher/test/redistest"
)

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t)
	w := newWorld(t, 3, ttl, "--redis-url="+group.URL())
	w.pass(0.4)
	mark := w.fault("the master is killed")
	group.KillMaster()
	over := time.Now()
	w.say("the replica is master")
	w.fleet.Await(storeRewritten)
	w.demandSoon(over)
	w.calls.AwaitRenewals(mark, 2)
	w.pass(0.4)
	w.demandStoreUp(true)
	w.demandConnected(mark)
	w.verdict(on(group.Master()))
}

// One of three masters of a cluster dies, and its replica takes over. The cluster either uses no TLS, or each of its
// servers has a certificate.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (*redistest.Cluster, []string){
		"plain": func(t *testing.T) (*redistest.Cluster, []string) {
			cluster := redistest.StartCluster(t)
			return cluster, []string{"--redis-url=" + cluster.URL()}
		},
		"TLS": func(t *testing.T) (*redistest.Cluster, []string) {
			a := redistest.NewAuthority(t)
			cluster := redistest.StartClusterTLS(t, a)
			return cluster, secured(a, cluster.URL())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, flags := start(t)
			w := newWorld(t, 3, ttl, flags...)
			w.pass(0.4)
			master := cluster.MasterOf(dueKey(0))
			mark := w.fault("a master is killed")
			master.Kill()
			cluster.AwaitFailover(master)
			over := time.Now()
			w.say("its replica is master")
			w.fleet.Await(storeBack) // until the replica took over, some hash slots had no master, and the cluster refused all commands: so every node of the service has noticed the failover
			w.demandSoon(over)
			w.calls.AwaitRenewals(mark, 2)
			w.demandStoreUp(true)
			w.demandConnected(mark)
			w.verdict(cluster.MasterOf)
		})
	}
}

// soon is the longest time that the nodes of the service may take to find the new Redis master. It equals the
// duration of a node's lease, so no node counts as dead meanwhile.
const soon = 10 * time.Second

// demandSoon fails the test if the nodes took longer than `soon` to find the new master after the end of a failover.
func (w *world) demandSoon(over time.Time) {
	w.t.Helper()
	took := time.Since(over)
	w.say("all nodes have found it")
	if took > soon {
		w.t.Errorf("the nodes took %v to find the new master; want %v at most", took, soon)
	}
}
