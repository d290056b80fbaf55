package redis

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

type pipelines struct{ scripts []int }

func (*pipelines) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (*pipelines) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (p *pipelines) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		scripts := 0
		for _, c := range cmds {
			if name := c.Name(); name == "evalsha" || name == "eval" {
				scripts++
			}
		}
		p.scripts = append(p.scripts, scripts)
		return next(ctx, cmds)
	}
}

func TestClaimCallsAreShort(t *testing.T) {
	t.Parallel()
	const shards, nodes = 8, 150
	server, s := startStore(t)
	for shard := range shards {
		for _, id := range storetest.InShard(shard, store.SweepLimit) {
			s.saved(t, store.Done, overdue(id))
		}
	}
	for n := range nodes {
		if _, err := s.lease(within(t), "refresher-7f9c4d8b5-"+strconv.Itoa(n), store.Lease); err != nil {
			t.Fatal(err)
		}
	}
	s.keptForLong(t.Context())
	must(t, claimScript.Load(within(t), s.client).Err())
	seen := &pipelines{}
	s.client.AddHook(seen)
	cpu := server.CPU()
	claimed := s.doing(t, "b", store.Claim)
	cpu = server.CPU() - cpu
	for shard := range shards {
		if n := len(claimed[shard].Overdue); n != store.SweepLimit {
			t.Errorf("shard %d: claimed %d", shard, n)
		}
	}
	seen.scripts = slices.DeleteFunc(seen.scripts, func(scripts int) bool { return scripts == 0 })
	calls := shards * store.SweepLimit / claimSlice
	if len(seen.scripts) != calls || slices.Max(seen.scripts) > 1 {
		t.Errorf("%v script calls in the round trips, want %d times one", seen.scripts, calls)
	}
	// The test measures the processor time of Redis, since on a busy machine Redis may have to wait
	// for a processor. A call of the claim script takes about 0.2 ms.
	if each := cpu / time.Duration(calls); each > time.Millisecond {
		t.Errorf("a call takes Redis %s", each)
	}
}

// claimedFor lets the time d pass. Meanwhile the node "living" renews its lease, and the node
// "sweeper" sweeps. claimedFor returns how often each session was claimed.
func (s *harness) claimedFor(t *testing.T, d time.Duration) map[string]int {
	t.Helper()
	claimed := make(map[string]int)
	for begun := s.clock(); s.clock().Before(begun.Add(d)); s.pass(store.SweepEvery) {
		for _, found := range s.doing(t, "sweeper", store.Claim) {
			for _, r := range found.Overdue {
				claimed[r.Session]++
			}
		}
		s.doing(t, "living", store.Renew)
	}
	return claimed
}

// TestLeasesLost checks that no node counts as dead in the first 10 s (store.Lease) after the
// leases were lost, so that each node can renew its lease. A Redis Cluster can lose the leases
// without the sessions, since they can be on different servers.
func TestLeasesLost(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	living, dead := overdue(idIn(1, 0)), overdue(idIn(2, 0))
	living.Node, dead.Node = "living", "dead"
	s.saved(t, store.Done, living, dead)
	for _, node := range []string{"living", "sweeper"} {
		s.doing(t, node, store.Renew)
	}
	server.Do("DEL", s.keys.leases)
	if claimed := s.claimedFor(t, store.Lease-store.SweepEvery); len(claimed) > 0 {
		t.Errorf("claimed %v within a lease after the leases were lost", claimed)
	}
	if claimed := s.claimedFor(t, store.Lease); claimed[living.Session] != 0 || claimed[dead.Session] != 1 {
		t.Errorf("claimed %v, want %s once", claimed, dead.Session)
	}
}

// TestClockOfTheServerSetBack checks that a dead node's sessions are claimed even if the
// server's clock was set back, so that the end of the node's lease and the time of the
// oldest lease data lie in the future.
func TestClockOfTheServerSetBack(t *testing.T) {
	t.Parallel()
	_, s := startAt(t)
	s.pass(24 * time.Hour)
	for _, node := range []string{"living", "dead"} {
		s.doing(t, node, store.Renew)
	}
	s.pass(-24 * time.Hour)
	living, dead := overdue(idIn(1, 0)), overdue(idIn(2, 0))
	living.Node, dead.Node = "living", "dead"
	s.saved(t, store.Done, living, dead)
	if claimed := s.claimedFor(t, 3*store.Lease); claimed[living.Session] != 0 || claimed[dead.Session] == 0 {
		t.Errorf("claimed %v, want %s", claimed, dead.Session)
	}
}

func TestErrorsOfOneShardDoNotStopTheSweep(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	s.saved(t, store.Done, overdue(idIn(3, 0)))
	server.Do("SET", s.keys.due[7], "no sorted set")
	server.Do("LPUSH", s.keys.generation[9], "no string")
	server.Do("SET", s.keys.leases, "no sorted set")
	swept, err := s.Sweep(within(t), "a", store.Claim)
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("error %v", err)
	}
	for shard, found := range swept {
		if shard != 9 && found.Generation == "" || len(found.Overdue) > 0 {
			t.Errorf("shard %d, without a lease: %+v", shard, found)
		}
	}
	server.Do("DEL", s.keys.leases)
	s.keptForLong(t.Context())
	for shard, found := range s.doing(t, "a", store.Claim) {
		if bad := shard == 7 || shard == 9; (found.Err != nil) != bad || len(found.Overdue) != map[int]int{3: 1}[shard] {
			t.Errorf("shard %d: claimed %d, %v", shard, len(found.Overdue), found.Err)
		}
	}
}
