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

const (
	// scanCount is how many ids Redis goes through in one call, and readCount how many
	// records one pipeline reads: Redis serves nobody else meanwhile, for a millisecond at
	// most.
	scanCount = 250
	readCount = 100
)

// IDs returns the ids of a shard's sessions: those in its schedule, which Redis scans. An
// id that is there all along is found, perhaps twice. See store.Lister.
func (s *Store) IDs(ctx context.Context, shard int) (ids []string, err error) {
	defer s.metrics.observe("list", time.Now(), &err)
	for cursor := uint64(0); ; {
		var found []string // ids, each with its score
		found, cursor, err = s.client.ZScan(ctx, s.keys.due[shard], cursor, "", scanCount).Result()
		if err != nil {
			return nil, fmt.Errorf("ids: %w", err)
		}
		for i := 0; i < len(found); i += 2 {
			ids = append(ids, found[i])
		}
		if cursor == 0 {
			slices.Sort(ids)
			return slices.Compact(ids), nil
		}
	}
}

// Read returns the records of open sessions. See store.Lister.
func (s *Store) Read(ctx context.Context, ids []string) (records []store.Record, err error) {
	defer s.metrics.observe("list", time.Now(), &err)
	for part := range slices.Chunk(ids, readCount) {
		some, err := s.read(ctx, part, false)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		records = append(records, some...)
	}
	return records, nil
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
