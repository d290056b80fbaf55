package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// sweepPages bounds how many batches of records that are not for this node to see
// to, such as those that only a newer release can read, a sweep looks past. The next
// one goes on from there.
const sweepPages = 8

var errNoRecord = errors.New("what stands there is not a record")

// sweeping is one sweep.
type sweeping struct {
	*Store
	node  string
	do    store.Doing
	life  string // what it names a shard's life, if that has no name
	swept [store.Shards]store.Swept
	past  [store.Shards]int // overdue sessions that it passed over, by shard
}

// Sweep renews the node's lease in each shard, and hands it what is overdue and
// whose owner is gone; or only some of that, see store.Doing.
func (s *Store) Sweep(ctx context.Context, node string, do store.Doing) [store.Shards]store.Swept {
	w := &sweeping{Store: s, node: node, do: do, life: rand.Text()}
	s.mu.Lock()
	w.past = s.past
	s.mu.Unlock()
	shards := make([]int, store.Shards)
	for shard := range shards {
		shards[shard] = shard
	}
	lease := store.Lease
	if do == store.Leave {
		lease = 0
	}
	began := time.Now()
	if _, err := w.lease(ctx, node, lease); err != nil {
		w.metrics.observe("sweep", began, &err)
		for shard := range w.swept {
			w.swept[shard].Err = fmt.Errorf("sweep: %w", err)
		}
		return w.swept
	}
	for page := 0; len(shards) > 0 && page <= sweepPages; page++ {
		shards = w.claim(ctx, w.look(ctx, shards, lease))
	}
	if do == store.Claim {
		s.goOn(w, shards)
	}
	s.lookAtServers(ctx, &w.swept)
	return w.swept
}

// goOn has the next sweep begin, in the shards where this one has not come to the
// end of such records, where it stopped, and in the others at the front again: so
// that whatever stands anywhere among them gets its turn.
func (s *Store) goOn(w *sweeping, unfinished []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = [store.Shards]int{}
	for _, shard := range unfinished {
		s.past[shard] = w.past[shard]
	}
}

// room is how many more sessions of a shard the sweep may hand over.
func (w *sweeping) room(shard int) int {
	if w.do != store.Claim {
		return 0
	}
	return store.SweepLimit - len(w.swept[shard].Overdue)
}

// look renews the leases, and returns the ids of overdue sessions by shard.
func (w *sweeping) look(ctx context.Context, shards []int, lease time.Duration) map[int][]string {
	var err error
	defer w.metrics.observe("sweep", time.Now(), &err)
	calls := make([]call, len(shards))
	for i, shard := range shards {
		calls[i] = call{
			keys: []string{w.keys.shardLeases[shard], w.keys.due[shard], w.keys.meta[shard]},
			args: []any{
				w.node, w.clock(), lease.Milliseconds(), store.Slack.Milliseconds(),
				w.past[shard], w.room(shard), w.life,
			},
		}
	}
	began := time.Now()
	err = w.run(ctx, sweepScript, calls)
	took := time.Since(began)
	overdue := make(map[int][]string)
	for i, shard := range shards {
		reply, err := calls[i].result.Slice()
		if err == nil && len(reply) < 3 {
			err = fmt.Errorf("unexpected answer %q", reply)
		}
		if err != nil {
			w.swept[shard].Err = fmt.Errorf("sweep: %w", err)
			continue
		}
		w.swept[shard].Generation = word(reply, 0)
		if nowMs, ok := reply[2].(int64); ok {
			w.metrics.offset.Set(session.UnixMilli(nowMs).Time().Sub(began.Add(took / 2)).Seconds())
		}
		ids, _ := reply[1].([]any)
		for at := range ids {
			overdue[shard] = append(overdue[shard], word(ids, at))
		}
	}
	return overdue
}

// claim claims overdue sessions. It returns the shards in which there may be
// more of them: those where some were passed over, because a newer release wrote
// them or other nodes serve their projects. They stay the first, and would hide the
// others for ever.
func (w *sweeping) claim(ctx context.Context, overdue map[int][]string) (more []int) {
	if len(overdue) == 0 {
		return nil
	}
	var err error
	defer w.metrics.observe("claim", time.Now(), &err)
	shards := make([]int, 0, len(overdue))
	calls := make([]call, 0, len(overdue))
	for shard, ids := range overdue {
		c := call{
			keys: []string{w.keys.shardLeases[shard], w.keys.due[shard], w.keys.ids[shard]},
			args: []any{
				store.Format, store.NodeID(w.node), w.clock(), store.Lease.Milliseconds(), store.Slack.Milliseconds(),
				store.SweepEvery.Milliseconds(), w.keys.channel, w.served,
			},
		}
		for _, id := range ids {
			c.keys = append(c.keys, w.keys.session(shard, id))
			c.args = append(c.args, id)
		}
		shards, calls = append(shards, shard), append(calls, c)
	}
	err = w.run(ctx, claimScript, calls)
	for i, shard := range shards {
		found, err := calls[i].result.Slice()
		if err != nil {
			w.swept[shard].Err = fmt.Errorf("claim: %w", err)
			continue
		}
		full := len(found) == w.room(shard)
		if others := w.take(shard, overdue[shard], found); others > 0 && full && w.room(shard) > 0 {
			w.past[shard] += others
			more = append(more, shard)
		}
	}
	return more
}

// take takes what the claim script found of some sessions, and returns how many
// of them are not for this node to see to.
func (w *sweeping) take(shard int, ids []string, found []any) (others int) {
	for at, found := range found {
		var r store.Record
		var err error
		switch found := found.(type) {
		case []any:
			r, err = w.unpack(ids[at], pairs(found))
		case int64:
			if found == 2 {
				others++
			}
			if found != 3 {
				continue
			}
			err = w.unreadable(ids[at], errNoRecord)
		}
		if err != nil {
			continue
		}
		w.swept[shard].Overdue = append(w.swept[shard].Overdue, r)
	}
	return others
}
