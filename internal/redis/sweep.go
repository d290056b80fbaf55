package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// Sweep renews or ends the node's lease, reads the generation of each shard's data, and
// claims the overdue sessions that the node owns or whose owner's lease has expired. The
// argument `do` selects which of these it does. If Sweep returns an error, it has not renewed
// the lease and claims nothing.
func (s *Store) Sweep(ctx context.Context, node string, do store.Doing) (swept [store.Shards]store.Swept, err error) {
	began := time.Now()
	length := store.Lease
	if do == store.Leave {
		length = 0
	}
	leases, err := s.lease(ctx, node, length)
	var c *claiming // nil if this sweep claims nothing
	if err == nil && do == store.Claim && leases.settled() {
		c = s.newClaiming(node, &leases, &swept)
	}
	overdue, failed := s.readShards(ctx, &swept, c)
	s.addRuns(ctx, &swept)
	failed = cmp.Or(err, failed)
	s.metrics.observe("sweep", began, &failed)
	if err != nil {
		return swept, fmt.Errorf("lease: %w", err)
	}
	s.metrics.offset.Set(leases.now.Time().Sub(leases.asked).Seconds())
	if c != nil {
		c.claim(ctx, overdue)
	}
	return swept, nil
}

// readShards writes the generation of each shard's data, or the error, into `swept`, and returns
// the first slice of overdue sessions of each shard. It gives a missing generation a value with
// SETNX, which is a write command, so that a server that refuses writes counts as down.
func (s *Store) readShards(ctx context.Context, swept *[store.Shards]store.Swept, c *claiming) (overdue map[int][]string, failed error) {
	name := rand.Text() // this random name becomes the generation of each shard that has no generation yet
	var set [store.Shards]*goredis.BoolCmd
	var get [store.Shards]*goredis.StringCmd
	found := make(map[int]*goredis.StringSliceCmd)
	_ = s.pipeline(ctx, func(p goredis.Pipeliner) {
		for shard, key := range s.keys.generation {
			set[shard], get[shard] = p.SetNX(ctx, key, name, 0), p.Get(ctx, key)
			if c != nil {
				found[shard] = c.next(ctx, p, shard)
			}
		}
	})
	for shard := range swept {
		generation, err := get[shard].Result()
		err = cmp.Or(set[shard].Err(), err)
		if err == nil && generation == "" {
			err = errors.New("the generation is empty")
		}
		if err != nil {
			failed = cmp.Or(failed, err)
			swept[shard].Err = fmt.Errorf("sweep: %w", err)
			delete(found, shard)
			continue
		}
		swept[shard].Generation = generation
	}
	return c.ids(found), failed
}
