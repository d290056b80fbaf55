package credential

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// cooldown is the shortest time between two fetches for keys that are not in
	// the set: otherwise each made-up key id would cause a fetch.
	cooldown = 10 * time.Second
	// patience is how long Verify waits for a fetch.
	patience = 2 * time.Second
	// maxWaiting is how many do so at once.
	maxWaiting = 64
	// maxWanted is how many unknown keys one fetch looks up. Credentials that name
	// further ones are answered with unavailable.
	maxWanted = 1000
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

	mu       sync.Mutex
	round    *round          // guarded by mu; the fetch that is asked for or under way
	fetching bool            // guarded by mu; it is under way
	wanted   map[wanted]bool // guarded by mu; keys that the next fetch to begin looks up
	asked    map[wanted]bool // guarded by mu; those of the last fetch that began
	absent   map[wanted]bool // guarded by mu; asked of the last fetch, if it went well: not to be looked up again
	began    time.Time       // guarded by mu; the last fetch
	fetched  time.Time       // guarded by mu; the set
	failing  bool            // guarded by mu; the last fetch failed
	stopped  bool            // guarded by mu; there will be no other
}

// round is one fetch and those who wait for it.
type round struct {
	done    chan struct{}
	waiting int // guarded by remote.mu
}

// wanted is the hash of the key id and algorithm that a credential names. A hash, since
// a client can make the id as long as a credential may be.
type wanted uint64

var wantedSeed = maphash.MakeSeed()

func wantedOf(kid, alg string) wanted {
	return wanted(maphash.String(wantedSeed, alg+" "+kid))
}

// find returns the key that a credential was signed with. It may wait for a fetch.
// Its error is a *RefusedError.
func (r *remote) find(ctx context.Context, kid, alg string) (any, error) {
	key, err := r.set.Load().pick(kid, alg)
	//nolint:errorlint // pick returns these very values.
	if err != errNotInSet {
		return key, err
	}
	w := wantedOf(kid, alg)
	done, refused := r.want(w)
	if refused == nil && !within(ctx, patience, done) {
		return nil, refuse(ReasonKeysUnavailable, "the key set is late")
	}
	// Look again, also if want has refused: a fetch may have brought the key since the
	// first look.
	key, err = r.set.Load().pick(kid, alg)
	//nolint:errorlint // pick returns these very values.
	switch {
	case err != errNotInSet:
		return key, err
	case refused != nil:
		return nil, refused
	default:
		return nil, r.unknown(w)
	}
}

// within reports whether done is closed before d is over and before ctx ends.
func within(ctx context.Context, d time.Duration, done <-chan struct{}) bool {
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-done:
		return true
	case <-late.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// want registers an unknown key for the next fetch. done is closed when the fetch that
// is under way, else the next one, has ended. The error is a *RefusedError: the last
// fetch did not find the key, the next one is further away than patience, or maxWaiting
// callers wait for it.
func (r *remote) want(w wanted) (done chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lacks(w) || r.stopped {
		return nil, r.refusal(w)
	}
	if len(r.wanted) < maxWanted {
		if r.wanted == nil {
			r.wanted = make(map[wanted]bool)
		}
		r.wanted[w] = true
	}
	r.request()
	if !r.fetching && r.tooSoon() > patience || r.round.waiting == maxWaiting {
		return nil, r.refusal(w)
	}
	r.round.waiting++
	return r.round.done, nil
}

// request asks run for a fetch, unless that was done. mu is held.
func (r *remote) request() {
	if r.round == nil {
		r.round = &round{done: make(chan struct{})}
		r.wake <- struct{}{} // has room: begin empties it before a round ends
	}
}

// tooSoon is how long it takes until there may be another fetch. mu is held.
func (r *remote) tooSoon() time.Duration {
	if r.began.IsZero() {
		return 0
	}
	return max(0, time.Until(r.began.Add(cooldown)))
}

// lacks reports whether the last fetch looked for the key and did not find it. That
// counts for the cooldown. mu is held.
func (r *remote) lacks(w wanted) bool { return r.absent[w] && r.tooSoon() > 0 }

// unknown is refusal for callers that do not hold mu.
func (r *remote) unknown(w wanted) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal(w)
}

// refusal returns errNotInSet if the key was looked up and not found, and
// ReasonKeysUnavailable if it was not looked up yet or the last fetch failed. mu is held.
func (r *remote) refusal(w wanted) error {
	switch {
	case r.stopped || r.failing || r.fetched.IsZero():
		return refuse(ReasonKeysUnavailable, "the key set cannot be fetched")
	case r.lacks(w):
		return errNotInSet
	default:
		return &RefusedError{
			Reason: ReasonKeysUnavailable, Detail: "the key was not looked up yet", retryAfter: max(awayRetry, r.tooSoon()),
		}
	}
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
		if !r.pause(ctx, wait-rand.N(wait/10+1)) { //nolint:gosec // jitter, no secret
			return
		}
	}
}

// pause waits until the next fetch: for so long, or until one is asked for and may be
// made. It reports whether ctx is not done.
func (r *remote) pause(ctx context.Context, wait time.Duration) bool {
	next := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.wake:
			r.mu.Lock()
			soon := r.tooSoon()
			r.mu.Unlock()
			timer.Reset(min(soon, time.Until(next)))
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
	r.began, r.fetching = time.Now(), true
	r.asked, r.wanted = r.wanted, nil
}

// end closes the round, and reports whether the one before it failed. Keys that were
// asked for while it was under way are left to the next: they may have been published
// after the endpoint had made its answer.
func (r *remote) end(failed bool) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, r.failing, r.fetching = r.failing, failed, false
	r.absent = nil
	if !failed {
		r.fetched = time.Now()
		r.absent = r.asked // also what was found: find looks into the new set before it refuses
	}
	close(r.round.done)
	r.round = nil
	if len(r.wanted) > 0 {
		r.request()
	}
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
