package store

import (
	"context"
	"encoding/base64"
	"slices"

	"refresher/internal/session"
)

// Place is where a listing stands: before it are the shards under Shard, and in
// Shard the sessions up to After, in bytes; none if that is empty.
type Place struct {
	Shard int
	After string
}

const (
	// cursorFormat is the first byte of a cursor.
	cursorFormat = 1
	// maxCursor bounds what Place looks at. An id is never near as long.
	maxCursor = 1024
)

// Place is where a query goes on. The error is a *session.Error.
func (q *ListQuery) Place() (Place, error) {
	if q.Limit < 1 || q.Limit > ListLimit {
		return Place{}, session.Errorf(session.CodeBadRequest, "limit: want 1 to %d", ListLimit)
	}
	if q.After == "" {
		return Place{}, nil
	}
	if len(q.After) <= maxCursor {
		raw, err := base64.RawURLEncoding.DecodeString(q.After)
		if err == nil && len(raw) >= 2 {
			p := Place{Shard: int(raw[1]), After: string(raw[2:])}
			within := p.After == "" && p.Shard > 0 || p.After != "" && ShardOf(p.After) == p.Shard
			// There is one cursor for each place, and decoding is not so strict.
			if within && p.Cursor() == q.After {
				return p, nil
			}
		}
	}
	return Place{}, session.Errorf(session.CodeBadRequest, "cursor: want one that a listing ended with")
}

// Cursor is what a query goes on from here with; empty if there is nothing more.
func (p Place) Cursor() string {
	if p.Shard >= Shards {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(slices.Concat([]byte{cursorFormat, byte(p.Shard)}, []byte(p.After)))
}

// List is a part of the sessions, and the cursor to go on from. See Lister.
func (m *Memory) List(_ context.Context, q ListQuery) (records []Record, next string, err error) {
	at, err := q.Place()
	if err != nil {
		return nil, "", err
	}
	for left := q.Limit; left > 0 && at.Shard < Shards; {
		ids := m.idsFrom(at)
		n := min(left, len(ids))
		left -= n
		records = m.read(records, at.Shard, ids[:n])
		if n < len(ids) {
			at.After = ids[n-1]
		} else {
			at = Place{Shard: at.Shard + 1}
		}
	}
	return records, at.Cursor(), nil
}

// idsFrom are the ids of a shard from a place on. They are sorted without the
// lock, which others wait for.
func (m *Memory) idsFrom(at Place) (ids []string) {
	m.mu.Lock()
	for id := range m.shards[at.Shard].due {
		if id > at.After {
			ids = append(ids, id)
		}
	}
	m.mu.Unlock()
	slices.Sort(ids)
	return ids
}

// read appends the records of those sessions that are still there and not over.
func (m *Memory) read(records []Record, shard int, ids []string) []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if r, ok := m.shards[shard].records[id]; ok && !r.HasEnded() {
			records = append(records, r.clone())
		}
	}
	return records
}

// Get is one session's record. See Getter.
func (m *Memory) Get(_ context.Context, id string) (Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[ShardOf(id)]
	s.expireTombstones(m.now())
	r, ok := s.records[id]
	if r.HasEnded() {
		r = r.OnlyEnd()
	}
	return r.clone(), ok, nil
}
