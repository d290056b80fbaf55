package store

import (
	"context"
	"encoding/base64"
	"slices"

	"refresher/internal/session"
)

// Lister lists the open sessions of a store.
type Lister interface {
	// IDs returns the ids of a shard's sessions, sorted. A session that exists throughout
	// the call is returned exactly once, whatever is added or removed meanwhile.
	IDs(ctx context.Context, shard int) ([]string, error)
	// Read returns the records of those sessions in `ids` that are open, in the order of
	// `ids`. It leaves out sessions that have ended, and records that cannot be read.
	Read(ctx context.Context, ids []string) ([]Record, error)
	Getter
}

const (
	// ListLimit is the maximum of ListQuery.Limit.
	ListLimit = 1000
	// maxLook is the maximum number of sessions that List reads for a page, whether or not
	// they match. minLook is the minimum number that it reads in one step. With smaller steps
	// the number of empty pages would reveal how many sessions do not match.
	maxLook = 2000
	minLook = 100
	// maxCursor is the maximum length of a cursor. An id is much shorter.
	maxCursor = 1024
	// cursorFormat is the first byte of a cursor: the version of the cursor's format.
	cursorFormat = 1
)

// ListQuery selects a page of the sessions.
type ListQuery struct {
	// After is the cursor that the previous page returned; empty for the first page.
	After string
	// Limit is the maximum number of sessions to return: 1 to ListLimit.
	Limit int
	// Fits filters the sessions; nil returns all.
	Fits func(*Record) bool
}

// List returns a page of the sessions, ordered by shard and then by id, and the cursor for
// the next page, which is empty at the end. A page before the end may have fewer sessions
// than the limit, even none. A matching session that exists throughout the listing is on
// exactly one page. The error is a *session.Error if the cursor is not one that List
// returned, or if the limit is out of bounds.
func List(ctx context.Context, l Lister, q ListQuery) (records []Record, next string, err error) {
	if q.Limit < 1 || q.Limit > ListLimit {
		return nil, "", session.Errorf(session.CodeBadRequest, "limit: want 1 to %d", ListLimit)
	}
	at, err := placeOf(q.After)
	if err != nil {
		return nil, "", err
	}
	w := walk{lister: l, at: at}
	for looked := 0; looked < maxLook; {
		n := max(q.Limit-len(records), minLook)
		looked += n
		ids, read, err := w.read(ctx, n)
		if err != nil {
			return nil, "", err
		}
		for i := range read {
			if q.Fits != nil && !q.Fits(&read[i]) {
				continue
			}
			records = append(records, read[i])
			id := read[i].Session
			if len(records) == q.Limit && id != ids[len(ids)-1] {
				return records, place{ShardOf(id), id}.cursor(), nil
			}
		}
		if len(ids) < n || len(records) == q.Limit {
			break
		}
	}
	return records, w.at.cursor(), nil
}

// Walk calls the function `visit` with batches of all open sessions, in the order of List.
func Walk(ctx context.Context, l Lister, visit func([]Record)) error {
	w := walk{lister: l}
	for {
		ids, records, err := w.read(ctx, minLook)
		if err != nil || len(ids) == 0 {
			return err
		}
		visit(records)
	}
}

// walk iterates over the sessions of all shards.
type walk struct {
	lister Lister
	at     place
	loaded bool     // whether the field `rest` is valid
	rest   []string // ids of the current shard that were not read yet
}

// read returns the next n ids, fewer than n only at the end of the listing, and the records
// of the open sessions among them.
func (w *walk) read(ctx context.Context, n int) (ids []string, records []Record, err error) {
	for len(ids) < n && w.at.shard < Shards {
		if !w.loaded {
			all, err := w.lister.IDs(ctx, w.at.shard)
			if err != nil {
				return nil, nil, err
			}
			from, found := slices.BinarySearch(all, w.at.after)
			if found {
				from++
			}
			w.rest, w.loaded = all[from:], true
		}
		part := w.rest[:min(n-len(ids), len(w.rest))]
		ids, w.rest = append(ids, part...), w.rest[len(part):]
		if len(w.rest) > 0 {
			w.at.after = part[len(part)-1]
		} else {
			w.at, w.loaded = place{shard: w.at.shard + 1}, false
		}
	}
	if len(ids) > 0 {
		records, err = w.lister.Read(ctx, ids)
	}
	return ids, records, err
}

// place is a position in a listing: the listing continues in the shard with the number `shard`, at
// the first session whose id is greater than `after` in byte order.
type place struct {
	shard int
	after string
}

func placeOf(cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	if len(cursor) <= maxCursor {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err == nil && len(raw) >= 2 {
			p := place{int(raw[1]), string(raw[2:])}
			within := p.after == "" && p.shard > 0 || p.after != "" && ShardOf(p.after) == p.shard
			// Each place has exactly one valid cursor. Since the base64 decoder also accepts other
			// texts for the same place, placeOf compares the cursor with the one that List would
			// return.
			if within && p.cursor() == cursor {
				return p, nil
			}
		}
	}
	return place{}, session.Errorf(session.CodeBadRequest, "cursor: want the cursor of an earlier page")
}

// cursor returns the ListQuery.After that continues a listing at p, or "" at the end.
func (p place) cursor() string {
	if p.shard >= Shards {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(slices.Concat([]byte{cursorFormat, byte(p.shard)}, []byte(p.after)))
}

// IDs returns the ids of a shard's sessions. See Lister.
func (m *Memory) IDs(_ context.Context, shard int) ([]string, error) {
	m.mu.Lock()
	ids := make([]string, 0, len(m.shards[shard].open))
	for id := range m.shards[shard].open {
		ids = append(ids, id)
	}
	m.mu.Unlock() // unlocks before the sorting, so that other operations need not wait for it
	slices.Sort(ids)
	return ids, nil
}

// Read returns the records of open sessions. See Lister.
func (m *Memory) Read(_ context.Context, ids []string) (records []Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if r, ok := m.shards[ShardOf(id)].open[id]; ok && !r.HasEnded() {
			records = append(records, r.clone())
		}
	}
	return records, nil
}

// Get returns one session's record. See Getter.
func (m *Memory) Get(_ context.Context, id string) (Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[ShardOf(id)]
	s.expireTombstones(m.now())
	r, ok := s.find(id)
	if r.HasEnded() {
		r = r.OnlyEnd()
	}
	return r.clone(), ok, nil
}
