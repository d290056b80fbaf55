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
	// scanCount is the number of ids that Redis scans in one call, and readCount the number
	// of records that one pipeline reads. Each call and each pipeline occupies Redis for at
	// most a millisecond.
	scanCount = 250
	readCount = 100
)

// IDs returns the ids in a shard's sorted set "due". See store.Lister. A scan of Redis can return
// an id twice, so IDs removes duplicates.
func (s *Store) IDs(ctx context.Context, shard int) (ids []string, err error) {
	defer s.metrics.observe("list", time.Now(), &err)
	for cursor := uint64(0); ; {
		var found []string // alternates ids and scores
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
		some, err := s.records(ctx, part)
		if err != nil {
			return nil, err
		}
		records = append(records, slices.DeleteFunc(some, func(r store.Record) bool { return r.HasEnded() })...)
	}
	return records, nil
}

// Get returns one session's record. See store.Getter.
func (s *Store) Get(ctx context.Context, id string) (r store.Record, ok bool, err error) {
	defer s.metrics.observe("list", time.Now(), &err)
	records, err := s.records(ctx, []string{id})
	if err != nil || len(records) == 0 {
		return r, false, err
	}
	return records[0], true, nil
}

func (s *Store) records(ctx context.Context, ids []string) (records []store.Record, err error) {
	hashes, dues := make([]*goredis.MapStringStringCmd, len(ids)), make([]*goredis.FloatCmd, len(ids))
	_ = s.pipeline(ctx, func(p goredis.Pipeliner) { // this error is ignored, since each command also has its own error
		for i, id := range ids {
			shard := store.ShardOf(id)
			hashes[i] = p.HGetAll(ctx, s.keys.session(shard, id))
			dues[i] = p.ZScore(ctx, s.keys.due[shard], id)
		}
	})
	for i, id := range ids {
		r, ok, err := s.record(id, hashes[i], dues[i])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", id, err)
		}
		if ok {
			records = append(records, r)
		}
	}
	return records, nil
}

// record makes a session's record from its hash and due time. It returns false if the session
// does not exist, or its record is unreadable.
func (s *Store) record(id string, hash *goredis.MapStringStringCmd, due *goredis.FloatCmd) (r store.Record, ok bool, err error) {
	fields, err := hash.Result()
	if goredis.HasErrorPrefix(err, "WRONGTYPE") {
		_ = s.unreadable(id, errNoRecord)
		return r, false, nil
	}
	if _, there := fields[fieldFence]; !there {
		return r, false, err
	}
	r.Session = id
	if unpackFence(fields[fieldFence], &r) == nil && r.HasEnded() && unpackState(fields[fieldState], &r) == nil {
		return r.OnlyEnd(), true, nil
	}
	at, err := due.Result()
	if err != nil {
		if errors.Is(err, goredis.Nil) {
			err = nil // the session has ended since the hash was read
		}
		return r, false, err
	}
	fields[fieldDue] = strconv.FormatFloat(at, 'f', 0, 64)
	r, err = s.unpack(id, fields)
	return r, err == nil, nil
}
