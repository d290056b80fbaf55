package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
)

type revocations struct{ *connection }

var _ store.Revocations = (*revocations)(nil)

const (
	// putBatch is the number of revocations that one script call merges, and putPipeline the
	// number of calls in one pipeline.
	putBatch    = 64
	putPipeline = 8
	// expireBatch is the maximum number of ended revocations that one script call removes. It
	// is larger than putBatch, so that a call removes more revocations than it adds.
	expireBatch = 128
	// scanBatch is the number of revocations that one command reads. Such a command occupies
	// Redis for less than half a millisecond.
	scanBatch = 256
)

func (s *revocations) PutRevocations(ctx context.Context, revocations ...store.Revocation) (err error) {
	defer s.metrics.observe("revocations", time.Now(), &err)
	k := &s.keys.revocations
	var calls []call
	for part := range slices.Chunk(revocations, putBatch) {
		c := call{
			keys: []string{k.all, k.until, k.version},
			args: []any{s.clock(), rand.Text(), k.channel, store.MaxRevocations, expireBatch},
		}
		for i := range part {
			text, err := json.Marshal(&part[i])
			if err != nil {
				return fmt.Errorf("put revocation %s: %w", part[i].ID, err)
			}
			c.args = append(c.args, part[i].ID, int64(part[i].Until), part[i].Version, text)
		}
		calls = append(calls, c)
	}
	for some := range slices.Chunk(calls, putPipeline) {
		if err := s.run(ctx, revokeScript, some); err != nil {
			return fmt.Errorf("put revocations: %w", err)
		}
	}
	for _, c := range calls {
		if refused, err := c.result.Int(); err != nil || refused > 0 {
			return fmt.Errorf("put revocations: %w", cmp.Or(err, store.ErrRevocationsFull))
		}
	}
	return nil
}

// Revocations implements store.Revocations. It uses only read commands, so that it works on a
// server that refuses writes or scripts. The first one reads the version. A revocation that
// changes after that has a higher seq than the version.
func (s *revocations) Revocations(ctx context.Context, known store.RevocationsVersion) (
	all, later []store.Revocation, version store.RevocationsVersion, err error,
) {
	defer s.metrics.observe("revocations", time.Now(), &err)
	if version, err = s.revocationsVersion(ctx); err != nil || version == known {
		return nil, nil, version, err
	}
	now := time.Now()
	if s.now != nil {
		now = s.now()
	}
	for cursor := uint64(0); ; {
		var page []string // page alternates ids and values
		if page, cursor, err = s.client.HScan(ctx, s.keys.revocations.all, cursor, "", scanBatch).Result(); err != nil {
			return nil, nil, version, fmt.Errorf("read revocations: %w", err)
		}
		for i := 1; i < len(page); i += 2 {
			r, seq, err := unpackRevocation(page[i])
			if err == nil && r.ID != page[i-1] {
				err = errGarbage
			}
			switch {
			case err != nil:
				s.unreadableRevocation(page[i-1], err)
			case r.Until <= session.SecOf(now):
			case version.Seq != 0 && seq > version.Seq: // Seq is 0 if somebody deleted the version
				later = append(later, r)
			default:
				all = append(all, r)
			}
		}
		if cursor == 0 {
			return all, later, version, nil
		}
	}
}

// revocationsVersion reads the version of the stored revocations. The version includes the
// number of revocations, so that it also changes when an operator removes some by hand.
func (s *revocations) revocationsVersion(ctx context.Context) (store.RevocationsVersion, error) {
	k := &s.keys.revocations
	var version *goredis.StringCmd
	var count *goredis.IntCmd
	_, _ = s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		version, count = p.Get(ctx, k.version), p.HLen(ctx, k.all)
		return nil
	})
	if err := cmp.Or(unlessNil(version.Err()), count.Err()); err != nil {
		s.lookForMasters(ctx, err)
		return store.RevocationsVersion{}, fmt.Errorf("read the version of the revocations: %w", err)
	}
	return parseVersion(fmt.Sprintf("%s %d", cmp.Or(version.Val(), "- 0"), count.Val())), nil
}

// parseVersion reads "<random> <seq> <count>".
func parseVersion(text string) (v store.RevocationsVersion) {
	random, rest, _ := strings.Cut(text, " ")
	seq, count, _ := strings.Cut(rest, " ")
	v.Seq, _ = strconv.ParseInt(seq, 10, 64)
	v.Name = random + " " + count
	return v
}

// unpackRevocation reads "<seq> <version> <JSON>".
func unpackRevocation(value string) (r store.Revocation, seq int64, err error) {
	parts := strings.SplitN(value, " ", 3)
	if len(parts) < 3 {
		return r, 0, errGarbage
	}
	if seq, err = strconv.ParseInt(parts[0], 10, 64); err != nil {
		return r, 0, errGarbage
	}
	if err = json.Unmarshal([]byte(parts[2]), &r); err != nil {
		return r, 0, err
	}
	if strconv.FormatInt(r.Version, 10) != parts[1] || r.ID == "" || r.App == "" || r.Everybody() || r.Until.Check() != nil {
		return r, 0, errGarbage
	}
	return r, seq, nil
}

func (s *revocations) WatchRevocations(ctx context.Context, changed func(store.RevocationsChange)) error {
	connected := func() { changed(store.RevocationsChange{}) }
	err := s.listen(ctx, s.keys.revocations.channel, connected, func(payload string) { changed(s.change(payload)) })
	if err != nil {
		return fmt.Errorf("watch revocations: %w", err)
	}
	return nil
}

// change parses a message of revoke.lua. If a value cannot be read, it returns an empty
// change, which makes the caller read all revocations.
func (s *revocations) change(payload string) (c store.RevocationsChange) {
	lines := strings.Split(payload, "\n")
	if len(lines) < 2 {
		return c
	}
	for _, line := range lines[2:] {
		r, _, err := unpackRevocation(line)
		if err != nil {
			return store.RevocationsChange{}
		}
		c.Changed = append(c.Changed, r)
	}
	c.From, c.To = parseVersion(lines[0]), parseVersion(lines[1])
	return c
}

func (s *revocations) PutEnded(ctx context.Context, r store.Revocation, node string, e store.Ended) (err error) {
	defer s.metrics.observe("revocations", time.Now(), &err)
	key := s.keys.revocations.ended + r.ID
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		p.HSet(ctx, key, node, fmt.Sprintf("%d %d", e.Sessions, e.AccessEndsAt))
		p.ExpireAt(ctx, key, r.Until.Time())
	})
	if err != nil {
		return fmt.Errorf("put what ended: %w", err)
	}
	return nil
}

func (s *revocations) RevocationProgress(ctx context.Context, id string) (p store.RevocationProgress, err error) {
	defer s.metrics.observe("revocations", time.Now(), &err)
	k := &s.keys.revocations
	var stored *goredis.StringCmd
	var ended *goredis.MapStringStringCmd
	_, _ = s.client.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		stored, ended = pipe.HGet(ctx, k.all, id), pipe.HGetAll(ctx, k.ended+id)
		return nil
	})
	if err := cmp.Or(unlessNil(stored.Err()), ended.Err()); err != nil {
		return p, fmt.Errorf("read the progress of a revocation: %w", err)
	}
	if text := stored.Val(); text != "" {
		if _, p.Seq, err = unpackRevocation(text); err != nil {
			s.unreadableRevocation(id, err)
		}
	}
	p.Ended = make(map[string]store.Ended)
	for node, text := range ended.Val() {
		var e store.Ended
		if _, err := fmt.Sscanf(text, "%d %d", &e.Sessions, &e.AccessEndsAt); err == nil {
			p.Ended[node] = e
		}
	}
	return p, nil
}

var errGarbage = errors.New("not a record in the form that nodes write")

// unreadableRevocation logs, once for each id, a revocation that cannot be read.
func (s *revocations) unreadableRevocation(id string, err error) {
	if s.firstTime("revocation " + id) {
		s.logger.Error("a revocation in Redis cannot be read and is ignored", "revocation", id, "error", err)
	}
}

// unlessNil returns err, or nil if err only says that the key does not exist.
func unlessNil(err error) error {
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	return err
}
