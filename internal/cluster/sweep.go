package cluster

import (
	"cmp"
	"context"
	"time"

	"refresher/internal/store"
)

// sweeper is what a node keeps from one sweep to the next.
type sweeper struct {
	*Cluster
	generations [store.Shards]string
	// If the store was away for this node, it may have been away for all: no lease holds
	// then, and every session is overdue. Until claimFrom the node claims nothing, so that
	// the others can renew their leases.
	claimFrom time.Duration
}

// sweep renews the node's lease and takes over overdue sessions, until ctx is done.
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
