package cluster

import (
	"cmp"
	"context"
	"time"

	"refresher/internal/store"
)

// sweeper holds a node's state between two sweeps.
type sweeper struct {
	*Cluster
	generations [store.Shards]string
	// claimFrom is when the node may adopt sessions again after an outage of the store. If no node
	// could reach the store during the outage, all leases have expired, and every session may look
	// overdue. So the nodes first get time to renew their leases.
	claimFrom time.Duration
}

// sweep renews the node's lease and adopts overdue sessions of dead nodes, at intervals, until ctx
// is done.
func (c *Cluster) sweep(ctx context.Context) {
	tick := time.NewTicker(store.SweepEvery)
	defer tick.Stop()
	s := sweeper{Cluster: c}
	for {
		s.once()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *sweeper) once() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if s.Degraded() {
		s.claimFrom = s.now() + store.Lease
	}
	do := store.Claim
	if s.now() < s.claimFrom {
		do = store.Renew
	}
	swept, err := s.config.Store.Sweep(ctx, s.config.Node, do)
	s.noteLeaseAnswer(err)
	var reached, failed store.ShardSet
	for shard := range swept {
		reached[shard] = swept[shard].Err == nil
		failed[shard] = !reached[shard]
		err = cmp.Or(err, swept[shard].Err)
	}
	again := s.noteStoreAnswer(&reached, &failed, err)
	for shard := range swept {
		found := &swept[shard]
		if was := s.generations[shard]; found.Err == nil && was != found.Generation {
			s.generations[shard] = found.Generation
			again[shard] = again[shard] || was != ""
		}
		for i := range found.Overdue {
			s.node.Adopt(&found.Overdue[i])
		}
	}
	s.node.SaveAllAgain(&again)
}
