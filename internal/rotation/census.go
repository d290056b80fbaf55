package rotation

import (
	"context"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// countFor is how long counting all sessions may take. What was not looked at by
	// then is left out, and the report says so.
	countFor = 10 * time.Second
	// countShare is how many times as long as counting took its result is used again.
	countShare = 10
)

// tally counts the sessions that hold tokens of one certificate.
type tally struct {
	sessions, detached int
	endsAt             session.UnixSec // of the last of these tokens
}

// counted is what a count of all sessions found, by project and certificate; 0 is not
// known.
type counted struct {
	at      time.Time
	took    time.Duration
	partial bool
	apps    map[string]map[session.Fingerprint]tally
}

// census counts sessions, one count at a time.
type census struct {
	mu   sync.Mutex // held while sessions are counted
	last counted    // guarded by mu
}

// count returns how many sessions of the cluster hold tokens of which certificate. A
// count that took long is used for a while.
func (c *census) count(ctx context.Context, s Store) (counted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last.at.IsZero() && time.Since(c.last.at) < countShare*c.last.took {
		return c.last, nil
	}
	if err := ctx.Err(); err != nil { // the caller is gone, after waiting for others
		return counted{}, err
	}
	result := counted{at: time.Now(), apps: make(map[string]map[session.Fingerprint]tally)}
	within, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	for after := ""; ; {
		records, next, err := s.List(within, store.ListQuery{After: after, Limit: store.ListLimit})
		if err != nil && within.Err() != nil && ctx.Err() == nil {
			result.partial = true
			break
		}
		if err != nil {
			return counted{}, err
		}
		for i := range records {
			result.add(&records[i])
		}
		if after = next; after == "" {
			break
		}
	}
	result.took = time.Since(result.at)
	c.last = result
	return result, nil
}

// add counts one session, unless its tokens have ended.
func (c *counted) add(r *store.Record) {
	if r.ExpiresAt <= session.SecOf(c.at) {
		return
	}
	app := c.apps[r.App]
	if app == nil {
		app = make(map[session.Fingerprint]tally)
		c.apps[r.App] = app
	}
	t := app[r.Certificate]
	t.sessions++
	if r.State == session.Detached {
		t.detached++
	}
	t.endsAt = max(t.endsAt, r.ExpiresAt)
	app[r.Certificate] = t
}
