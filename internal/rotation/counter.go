package rotation

import (
	"context"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// countFor is the maximum time for counting all sessions. The sessions that are not counted by
	// then are left out, and the report is Partial.
	countFor = 10 * time.Second
	// countShare limits the load of counting: if a count took the time d, its result is
	// reused for countShare times d.
	countShare = 10
)

// holders counts the sessions that have tokens of one certificate.
type holders struct {
	sessions, detached int
	endsAt             session.UnixSec // when the last token that the certificate signed expires
}

// counts is the result of counting all sessions.
type counts struct {
	at      time.Time
	took    time.Duration
	partial bool
	apps    map[string]map[session.Fingerprint]holders // by project and certificate; certificate 0 means unknown
}

// counter counts sessions, for one caller at a time.
type counter struct {
	mu   sync.Mutex // held while sessions are counted
	last counts     // guarded by mu
}

// count counts the sessions of the cluster by project and certificate. For some time it
// returns the last result again (see countShare).
func (c *counter) count(ctx context.Context, s Store) (counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.at.IsZero() && time.Since(c.last.at) < countShare*c.last.took {
		return c.last, nil
	}
	if err := ctx.Err(); err != nil { // ctx ended while another caller counted
		return counts{}, err
	}
	result := counts{at: time.Now(), apps: make(map[string]map[session.Fingerprint]holders)}
	within, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	err := store.Walk(within, s, func(records []store.Record) {
		for i := range records {
			result.add(&records[i])
		}
	})
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return counts{}, err
	}
	result.partial = err != nil
	result.took = time.Since(result.at)
	c.last = result
	return result, nil
}

// add counts one session, unless its tokens have expired.
func (c *counts) add(r *store.Record) {
	if r.ExpiresAt <= session.SecOf(c.at) {
		return
	}
	if c.apps[r.App] == nil {
		c.apps[r.App] = make(map[session.Fingerprint]holders)
	}
	h := c.apps[r.App][r.Certificate]
	h.sessions++
	if r.State == session.Detached {
		h.detached++
	}
	h.endsAt = max(h.endsAt, r.ExpiresAt)
	c.apps[r.App][r.Certificate] = h
}
