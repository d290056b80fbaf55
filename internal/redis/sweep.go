package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// sweepPages bounds how many batches of records that only a newer release can
// read a sweep looks past.
const sweepPages = 8

// Sweep renews the node's lease in each shard, and hands it what is overdue and
// whose owner is gone. leaving gives the lease up instead. It is not to be
// called by several at once.
func (s *Store) Sweep(ctx context.Context, node string, leaving bool) [store.Shards]store.Swept {
	var swept [store.Shards]store.Swept
	overdue := s.look(ctx, node, leaving, &swept)
	for page := 0; len(overdue) > 0 && page < sweepPages; page++ {
		// Where all were written by a newer release, there may be others
		// behind them.
		foreign := s.claim(ctx, node, overdue, &swept)
		overdue = s.further(ctx, foreign, (page+1)*store.SweepLimit, &swept)
	}
	s.lookAtServers(ctx, &swept)
	return swept
}

// look renews the leases, and returns the ids of the overdue sessions by shard.
func (s *Store) look(ctx context.Context, node string, leaving bool, swept *[store.Shards]store.Swept) map[int][]string {
	var err error
	defer s.metrics.observe("sweep", time.Now(), &err)
	lease := store.Lease
	if leaving {
		lease = 0
	}
	calls := make([]call, store.Shards)
	for shard := range calls {
		calls[shard] = call{
			keys: []string{s.keys.leases[shard], s.keys.due[shard], s.keys.meta[shard]},
			args: []any{node, s.clock(), lease.Milliseconds(), store.Slack.Milliseconds(), store.SweepLimit, s.life},
		}
	}
	err = s.run(ctx, sweepScript, calls)
	overdue := make(map[int][]string)
	for shard := range calls {
		reply, err := calls[shard].result.Slice()
		if err == nil && len(reply) < 2 {
			err = fmt.Errorf("unexpected answer %q", reply)
		}
		if err != nil {
			swept[shard].Err = fmt.Errorf("sweep: %w", err)
			continue
		}
		swept[shard].Generation = word(reply, 0)
		ids, _ := reply[1].([]any)
		for i := range ids {
			overdue[shard] = append(overdue[shard], word(ids, i))
		}
	}
	return overdue
}

// claim claims overdue sessions. It returns the shards in which all of a full
// batch were written by a newer release.
func (s *Store) claim(ctx context.Context, node string, overdue map[int][]string, swept *[store.Shards]store.Swept) (foreign []int) {
	var err error
	defer s.metrics.observe("claim", time.Now(), &err)
	shards := make([]int, 0, len(overdue))
	calls := make([]call, 0, len(overdue))
	for shard, ids := range overdue {
		c := call{
			keys: []string{s.keys.leases[shard], s.keys.due[shard]},
			args: []any{store.Format, node, s.clock(), store.Lease.Milliseconds(), store.Slack.Milliseconds()},
		}
		for _, id := range ids {
			c.keys = append(c.keys, s.keys.session(shard, id))
			c.args = append(c.args, id)
		}
		shards, calls = append(shards, shard), append(calls, c)
	}
	err = s.run(ctx, claimScript, calls)
	for i, shard := range shards {
		reply, err := calls[i].result.Slice()
		if err != nil {
			swept[shard].Err = fmt.Errorf("claim: %w", err)
			continue
		}
		newer := 0
		for at, found := range reply {
			switch found := found.(type) {
			case int64:
				if found == 2 {
					newer++
				}
			case []any:
				id := overdue[shard][at]
				r, err := unpack(id, pairs(found))
				if err != nil {
					s.logger.Error("a session's record cannot be read; it is left as it is", "session", id, "error", err)
					continue
				}
				swept[shard].Overdue = append(swept[shard].Overdue, r)
			}
		}
		if newer == store.SweepLimit {
			foreign = append(foreign, shard)
		}
	}
	return foreign
}

// further looks at the next batch of overdue sessions of some shards.
func (s *Store) further(ctx context.Context, shards []int, offset int, swept *[store.Shards]store.Swept) map[int][]string {
	overdue := make(map[int][]string)
	for _, shard := range shards {
		ids, err := s.overdue(ctx, shard, offset)
		if err != nil {
			swept[shard].Err = fmt.Errorf("sweep: %w", err)
			continue
		}
		if len(ids) > 0 {
			overdue[shard] = ids
		}
	}
	return overdue
}

// overdue is a batch of the ids of overdue sessions, from offset on.
func (s *Store) overdue(ctx context.Context, shard, offset int) ([]string, error) {
	now := time.Now()
	if s.now != nil {
		now = s.now()
	}
	return s.client.ZRangeByScore(ctx, s.keys.due[shard], &goredis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.Add(-store.Slack).UnixMilli(), 10),
		Offset: int64(offset), Count: store.SweepLimit,
	}).Result()
}
