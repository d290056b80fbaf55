package auth

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cooldown is how long after a fetch a key that is not in the set causes no
	// other one: whoever makes up ids must not make us ask for each.
	cooldown = 10 * time.Second
	// patience is how long Verify waits for a fetch.
	patience = 2 * time.Second
	// maxWaiting is how many do so at once.
	maxWaiting = 64
	// Waits between fetches that fail double from the first to the second.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// remote is a key set that is fetched. It is safe for concurrent use. Fetches are
// made by run alone, one at a time.
type remote struct {
	url     *url.URL
	client  *http.Client
	every   time.Duration // between fetches that succeed
	logger  *slog.Logger  // names the endpoint
	metrics *metrics

	set  atomic.Pointer[keySet] // the last good one; nil: none yet
	wake chan struct{}          // a fetch is asked for; buffers one

	mu      sync.Mutex
	round   *round    // guarded by mu; the fetch that is asked for or under way
	began   time.Time // guarded by mu; the last fetch
	fetched time.Time // guarded by mu; the set
	failing bool      // guarded by mu; the last fetch failed
	stopped bool      // guarded by mu; there will be no other
}

// round is one fetch and those who wait for it.
type round struct {
	done    chan struct{}
	waiting int // guarded by remote.mu
}

// find returns the key that a credential was signed with. It may wait for a fetch.
// Its error is a *RefusedError.
func (r *remote) find(kid, alg string) (any, error) {
	key, err := r.set.Load().pick(kid, alg)
	//nolint:errorlint // pick returns these very values.
	if err != errNotInSet {
		return key, err
	}
	done, ok := r.ask()
	if !ok {
		return nil, r.verdict()
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		return nil, refuse(ReasonKeysUnavailable, "the key set is late")
	}
	key, err = r.set.Load().pick(kid, alg)
	//nolint:errorlint // pick returns these very values.
	if err == errNotInSet {
		return nil, r.verdict()
	}
	return key, err
}

// ask asks for a fetch and returns what is closed when it is over; ok is false if
// there will be none now, or too many wait for it.
func (r *remote) ask() (done chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round == nil {
		if r.stopped || !r.began.IsZero() && time.Since(r.began) < cooldown {
			return nil, false
		}
		r.round = &round{done: make(chan struct{})}
		r.wake <- struct{}{} // has room: begin empties it before a round ends
	}
	if r.round.waiting == maxWaiting {
		return nil, false
	}
	r.round.waiting++
	return r.round.done, true
}

// verdict is what a key that is not in the set means: it is wrong, unless what is
// in the set is not known.
func (r *remote) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing || r.fetched.IsZero() || r.round != nil {
		return refuse(ReasonKeysUnavailable, "the key set cannot be fetched")
	}
	return errNotInSet
}

// run fetches the set now, and again and again, until ctx is done.
func (r *remote) run(ctx context.Context) {
	defer r.stop()
	retry := firstRetry
	for {
		wait := r.every
		if r.refresh(ctx) {
			retry = firstRetry
		} else {
			wait = min(retry, r.every)
			retry = min(2*retry, lastRetry)
		}
		// Spread, so that nodes that start together do not ask together for ever.
		timer := time.NewTimer(wait - rand.N(wait/10+1)) //nolint:gosec // jitter, no secret
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.wake:
			timer.Stop()
		}
	}
}

// refresh fetches the set once, and reports whether that went well.
func (r *remote) refresh(ctx context.Context) bool {
	r.begin()
	set, err := fetch(ctx, r.client, r.url)
	if ctx.Err() != nil {
		return false // ours to end, and no fault of the endpoint
	}
	var before *keySet
	if err == nil {
		before = r.set.Swap(set)
	}
	was := r.end(err != nil)
	r.metrics.fetched(err == nil)
	switch {
	case err != nil && !was:
		r.logger.Warn("key set not fetched, the last one stays in use", "error", err, "has_keys", r.set.Load() != nil)
	case err == nil && was:
		r.logger.Info("key set fetched again", "keys", len(set.keys))
	}
	if err == nil && set.leftOut > 0 && (before == nil || before.leftOut != set.leftOut) {
		r.logger.Warn("key set has keys that are not public keys for signatures, or too weak", "left_out", set.leftOut, "keys", len(set.keys))
	}
	return err == nil
}

// begin opens a round, if none was asked for.
func (r *remote) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round == nil {
		r.round = &round{done: make(chan struct{})}
	}
	select {
	case <-r.wake: // this is what it asked for
	default:
	}
	r.began = time.Now()
}

// end closes the round, and reports whether the one before it failed.
func (r *remote) end(failed bool) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, r.failing = r.failing, failed
	if !failed {
		r.fetched = time.Now()
	}
	close(r.round.done)
	r.round = nil
	return before
}

// stop lets those go who wait for a fetch that will not be.
func (r *remote) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped, r.failing = true, true
	if r.round != nil {
		close(r.round.done)
		r.round = nil
	}
}

// age is how old the set is, or, while there is none, how long after begin.
func (r *remote) age(begin time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fetched.IsZero() {
		begin = r.fetched
	}
	return time.Since(begin)
}
