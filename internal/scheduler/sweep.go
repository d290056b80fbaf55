package scheduler

import (
	"cmp"
	"context"
	"time"

	"refresher/internal/store"
)

// sweep renews the node's lease and takes over overdue sessions, until ctx is done.
func (s *Scheduler) sweep(ctx context.Context) {
	tick := time.NewTicker(s.sweepEvery)
	defer tick.Stop()
	var generations [store.Shards]string
	// If the store was away for this node, it may have been away for all: no lease holds
	// then, and every session is overdue. Until claimFrom the node claims nothing, so
	// that the others can renew their leases.
	var claimFrom time.Duration
	for {
		s.sweepOnce(&generations, &claimFrom)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Scheduler) sweepOnce(generations *[store.Shards]string, claimFrom *time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if s.Degraded() {
		*claimFrom = s.clock.now().Mono + store.Lease
	}
	do := store.Claim
	if s.clock.now().Mono < *claimFrom {
		do = store.Renew
	}
	swept, err := s.config.Store.Sweep(ctx, s.config.Node, do)
	s.leaseAnswered(err)
	var reached, failed shards
	for shard := range swept {
		reached[shard] = swept[shard].Err == nil
		failed[shard] = !reached[shard]
		err = cmp.Or(err, swept[shard].Err)
	}
	again := s.storeAnswered(&reached, &failed, err)
	for shard := range swept {
		found := &swept[shard]
		if was := generations[shard]; found.Err == nil && was != found.Generation {
			generations[shard] = found.Generation
			again[shard] = again[shard] || was != ""
		}
		for i := range found.Overdue {
			s.adopt(&found.Overdue[i])
		}
	}
	s.rewrite(&again)
}
