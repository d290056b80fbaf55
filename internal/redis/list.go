package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// List is a part of the sessions, and the cursor to go on from, in three round
// trips. See store.Lister.
func (s *Store) List(ctx context.Context, q store.ListQuery) (records []store.Record, next string, err error) {
	at, err := q.Place()
	if err != nil {
		return nil, "", err
	}
	defer s.metrics.observe("list", time.Now(), &err)
	ids, at, err := s.idsFrom(ctx, at, q.Limit)
	if err == nil {
		records, err = s.read(ctx, ids, false)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list: %w", err)
	}
	return records, at.Cursor(), nil
}

// Get is one session's record. See store.Getter.
func (s *Store) Get(ctx context.Context, id string) (r store.Record, ok bool, err error) {
	defer s.metrics.observe("list", time.Now(), &err)
	records, err := s.read(ctx, []string{id}, true)
	if err != nil {
		return store.Record{}, false, fmt.Errorf("get: %w", err)
	}
	if len(records) == 0 {
		return store.Record{}, false, nil
	}
	return records[0], true, nil
}

// idsFrom are the next ids from a place on, and the place behind them. It reads
// the shard of that place, and counts the others; then it reads as many of those
// as are needed, each for as many as may still be wanted of it: what was counted
// may change, and a shard is over only when it gave fewer than it was asked for.
func (s *Store) idsFrom(ctx context.Context, at store.Place, limit int) (ids []string, next store.Place, err error) {
	first := at.Shard
	var found *goredis.StringSliceCmd
	var counts [store.Shards]*goredis.IntCmd
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		found = s.idsAfter(ctx, p, at, limit)
		for shard := first + 1; shard < store.Shards; shard++ {
			counts[shard] = p.ZCard(ctx, s.keys.ids[shard])
		}
	})
	if err == nil {
		ids, err = found.Result()
	}
	if err != nil {
		return nil, at, err
	}
	if len(ids) == limit {
		return ids, store.Place{Shard: first, After: ids[limit-1]}, nil
	}

	var parts []listPart
	left := limit - len(ids)
	next.Shard = store.Shards
	for shard := first + 1; shard < store.Shards; shard++ {
		n, err := counts[shard].Result()
		switch {
		case err != nil:
			return nil, at, err
		case n > 0 && left <= 0:
			next.Shard = min(next.Shard, shard)
		case n > 0:
			parts = append(parts, listPart{shard: shard, limit: left})
			left -= int(n)
		}
	}
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		for i := range parts {
			part := &parts[i]
			part.found = s.idsAfter(ctx, p, store.Place{Shard: part.shard}, part.limit)
		}
	})
	if err != nil {
		return nil, at, err
	}
	for _, part := range parts {
		more, err := part.found.Result()
		if err != nil {
			return nil, at, err
		}
		n := min(len(more), limit-len(ids))
		ids = append(ids, more[:n]...)
		if n < len(more) || n == part.limit { // there may be more
			next = store.Place{Shard: part.shard}
			if n > 0 {
				next.After = more[n-1]
			}
			break
		}
	}
	return ids, next, nil
}

// listPart is the beginning of a shard.
type listPart struct {
	shard, limit int
	found        *goredis.StringSliceCmd
}

// idsAfter asks for ids of one shard.
func (s *Store) idsAfter(ctx context.Context, p goredis.Pipeliner, at store.Place, limit int) *goredis.StringSliceCmd {
	from := "-"
	if at.After != "" {
		from = "(" + at.After
	}
	return p.ZRangeByLex(ctx, s.keys.ids[at.Shard], &goredis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)})
}

// read reads the records of those sessions that are still there, and leaves the others
// out, with those that a newer release wrote; also those that have ended, unless it is
// asked for them.
func (s *Store) read(ctx context.Context, ids []string, withEnded bool) (records []store.Record, err error) {
	hashes, dues := make([]*goredis.MapStringStringCmd, len(ids)), make([]*goredis.FloatCmd, len(ids))
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		for i, id := range ids {
			shard := store.ShardOf(id)
			hashes[i] = p.HGetAll(ctx, s.keys.session(shard, id))
			dues[i] = p.ZScore(ctx, s.keys.due[shard], id)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		fields, err := hashes[i].Result()
		switch {
		case goredis.HasErrorPrefix(err, "WRONGTYPE"):
			_ = s.unreadable(id, errNoRecord)
			continue
		case err != nil:
			return nil, err
		}
		if end, ok := endOf(id, fields); ok {
			if withEnded {
				records = append(records, end)
			}
			continue
		}
		due, err := dues[i].Result()
		switch {
		case errors.Is(err, goredis.Nil):
			continue // it was over a moment later
		case err != nil:
			return nil, err
		}
		fields[fieldDue] = strconv.FormatFloat(due, 'f', 0, 64)
		if r, ok := s.listed(id, fields); ok {
			records = append(records, r)
		}
	}
	return records, nil
}

// endOf is what the hash of a session that has ended says of that.
func endOf(id string, fields map[string]string) (store.Record, bool) {
	var r store.Record
	r.Session = id
	if unpackFence(fields[fieldFence], &r) != nil || !r.HasEnded() {
		return r, false
	}
	if err := unpackState(fields[fieldState], &r); err != nil {
		return r, false
	}
	return r.OnlyEnd(), true
}

// listed is the record in a hash, if it is one to be listed.
func (s *Store) listed(id string, fields map[string]string) (store.Record, bool) {
	if _, there := fields[fieldFence]; !there {
		return store.Record{}, false
	}
	r, err := s.unpack(id, fields)
	return r, err == nil && !r.HasEnded()
}

// pipeline makes commands in one pipeline. Its error is the first that there was,
// but for answers that say that something is not there, or something else.
func (s *Store) pipeline(ctx context.Context, commands func(goredis.Pipeliner)) error {
	sent, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		commands(p)
		return nil
	})
	if err == nil {
		return nil
	}
	if !slices.ContainsFunc(sent, func(c goredis.Cmder) bool { return c.Err() != nil }) {
		for _, c := range sent {
			c.SetErr(err) // which it has not been told of if it was never sent
		}
	}
	s.lookForMasters(ctx, err)
	if !harmless(err) {
		return err
	}
	for _, c := range sent {
		if err := c.Err(); err != nil && !harmless(err) {
			return err
		}
	}
	return nil
}

func harmless(err error) bool {
	return errors.Is(err, goredis.Nil) || goredis.HasErrorPrefix(err, "WRONGTYPE")
}
