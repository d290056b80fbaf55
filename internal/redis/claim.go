package redis

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

const (
	// claimSlice is how many sessions one call of the claim script examines. Redis serves
	// no other client during a call, which takes a millisecond at most.
	claimSlice = 16
	// claimTime is how long a sweep continues to claim sessions. The remaining sessions stay
	// overdue until the next sweep.
	claimTime = time.Second
)

// claiming holds the data of one sweep that claims overdue sessions.
type claiming struct {
	*Store
	// late is a time in Unix milliseconds: the sessions that were due at this time or before are
	// overdue.
	late  string
	args  []any // the arguments of the claim script that precede the ids
	swept *[store.Shards]store.Swept
	// past is, by shard, the number of overdue sessions to skip, since this node does not serve
	// their App IDs.
	past [store.Shards]int
}

func (s *Store) newClaiming(node string, leases *leases, swept *[store.Shards]store.Swept) *claiming {
	late := int64(leases.now.Add(-store.Slack))
	live := leases.live()
	for i, node := range live {
		live[i] = store.NodeID(node)
	}
	c := &claiming{Store: s, late: strconv.FormatInt(late, 10), swept: swept, args: []any{
		store.NodeID(node), late, int64(store.Later(leases.now)), s.keys.channel, wordList(live), s.served,
	}}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.past = s.past
	return c
}

// claim claims the overdue sessions of all shards in slices, with one round trip for each, so
// that Redis serves other clients in between.
func (c *claiming) claim(ctx context.Context, overdue map[int][]string) {
	defer c.keepPast()
	if len(overdue) == 0 {
		return
	}
	began, failed := time.Now(), error(nil)
	for looked := claimSlice; ; looked += claimSlice {
		var more []int
		for shard, ids := range overdue {
			if c.slice(ctx, shard, ids) {
				more = append(more, shard)
			}
			failed = cmp.Or(failed, c.swept[shard].Err)
		}
		if len(more) == 0 || looked >= store.SweepLimit || time.Since(began) > claimTime {
			break
		}
		found := make(map[int]*goredis.StringSliceCmd)
		_ = c.pipeline(ctx, func(p goredis.Pipeliner) {
			for _, shard := range more {
				found[shard] = c.next(ctx, p, shard)
			}
		})
		overdue = c.ids(found)
	}
	c.metrics.observe("claim", began, &failed)
}

// keepPast stores the numbers of skipped sessions, so that the next sweep begins where this
// one stopped.
func (c *claiming) keepPast() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Store.past = c.past
}

// next reads the next slice of overdue sessions of a shard, the longest overdue first.
func (c *claiming) next(ctx context.Context, p goredis.Pipeliner, shard int) *goredis.StringSliceCmd {
	return p.ZRangeByScore(ctx, c.keys.due[shard], &goredis.ZRangeBy{
		Min: "-inf", Max: c.late, Offset: int64(c.past[shard]), Count: claimSlice,
	})
}

// ids returns by shard the slices of overdue sessions that were read by the method `next`, without
// empty slices. When a shard has no more overdue sessions, the next sweep begins with the shard's
// earliest due time again.
func (c *claiming) ids(found map[int]*goredis.StringSliceCmd) map[int][]string {
	slices := make(map[int][]string)
	for shard, cmd := range found {
		switch ids, err := cmd.Result(); {
		case err != nil:
			c.swept[shard].Err = fmt.Errorf("overdue: %w", err)
		case len(ids) == 0:
			c.past[shard] = 0
		default:
			slices[shard] = ids
		}
	}
	return slices
}

// slice claims some overdue sessions of a shard. It reports whether the shard may have more.
func (c *claiming) slice(ctx context.Context, shard int, ids []string) (more bool) {
	keys, args := []string{c.keys.due[shard]}, c.args
	for _, id := range ids {
		keys, args = append(keys, c.keys.session(shard, id)), append(args, id)
	}
	found, err := c.one(ctx, claimScript, keys, args...).Slice()
	if err != nil {
		c.swept[shard].Err = fmt.Errorf("claim: %w", err)
		return false
	}
	c.take(shard, ids, found)
	if more = len(ids) == claimSlice; !more {
		c.past[shard] = 0
	}
	return more
}

// take adds the records that the claim script returned to the result. It counts the sessions of App
// IDs that this node does not serve: the script does not change their due times, so the next slice
// must skip them.
func (c *claiming) take(shard int, ids []string, found []any) {
	for at, found := range found {
		var r store.Record
		var err error
		switch found := found.(type) {
		case []any:
			r, err = c.unpack(ids[at], pairs(found))
		case int64:
			if found == 2 {
				c.past[shard]++
			}
			if found != 3 {
				continue
			}
			err = c.unreadable(ids[at], errNoRecord)
		}
		if err != nil {
			continue
		}
		c.swept[shard].Overdue = append(c.swept[shard].Overdue, r)
	}
}
