package credential

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/origin"
)

const (
	// refreshEvery is the time between fetches that succeed; between fetches that fail it
	// doubles from firstRetry to lastRetry.
	refreshEvery = 10 * time.Minute
	firstRetry   = time.Second
	lastRetry    = time.Minute
	// cooldown is the shortest time between two fetches for keys that are not in the set:
	// otherwise each made-up key id would cause a fetch.
	cooldown = 10 * time.Second
	// patience is how long Verify waits for a fetch, and maxWaiting how many do so at once.
	patience   = 2 * time.Second
	maxWaiting = 64
	// maxNamed is how many unknown keys are remembered.
	maxNamed     = 1000
	fetchTimeout = 10 * time.Second
	maxKeySet    = 512 << 10 // bytes
)

// remote is a key set that is fetched. It is safe for concurrent use. Fetches are made by run
// alone, one at a time.
type remote struct {
	url     *url.URL
	client  *http.Client
	logger  *slog.Logger           // names the endpoint
	fetches *prometheus.CounterVec // by outcome

	set     atomic.Pointer[keySet] // the last good one; nil: none yet
	wake    chan struct{}          // buffers one; a fetch is asked for
	waiting chan struct{}          // has an entry for each caller that waits for a fetch

	mu       sync.Mutex
	done     chan struct{} // guarded by mu; closed when the fetch under way, else the next, has ended
	begun    int           // guarded by mu; fetches that began
	began    time.Time     // guarded by mu; the last of them
	fetching bool          // guarded by mu; it is under way
	failing  bool          // guarded by mu; the last that ended has failed
	fetched  time.Time     // guarded by mu; the set
	stopped  bool          // guarded by mu; there will be no other fetch
	// named are unknown keys, each with the number of fetches that had begun when it was
	// asked for: the next one looks it up. Guarded by mu.
	named *simplelru.LRU[wanted, int]
}

// wanted is the hash of the key id and algorithm that a credential names. A hash, since a
// client can make the id as long as a credential may be.
type wanted uint64

var wantedSeed = maphash.MakeSeed()

func wantedOf(kid string, method jwt.SigningMethod) wanted {
	return wanted(maphash.String(wantedSeed, method.Alg()+" "+kid))
}

// CheckJWKSURL returns what is wrong with the URL of a key set. The error does not repeat it.
func CheckJWKSURL(address string) error {
	_, err := parseJWKSURL(address)
	return err
}

func parseJWKSURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, strings.Contains(address, "#"):
		return nil, errors.New("want a form like https://login.example.com/.well-known/jwks.json, without a user")
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()):
		return nil, errors.New("want https; over http anybody on the way could put in keys")
	}
	return u, nil
}

// newRemote returns the key set at an address, which is not fetched yet.
func newRemote(address string, client *http.Client, logger *slog.Logger) (*remote, error) {
	u, err := parseJWKSURL(address)
	if err != nil {
		return nil, fmt.Errorf("jwks-url: %w", err)
	}
	named, err := simplelru.NewLRU[wanted, int](maxNamed, nil)
	endpoint := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path} // the query may be a secret
	return &remote{
		url: u, client: client, logger: logger.With("endpoint", endpoint.String()),
		wake: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting), done: make(chan struct{}), named: named,
	}, err
}

// find returns the key that a credential was signed with. It may wait for a fetch. Its error
// is a *RefusedError.
func (r *remote) find(ctx context.Context, kid string, method jwt.SigningMethod) (any, error) {
	key, err := r.set.Load().pick(kid, method)
	//nolint:errorlint // pick returns these very values.
	if err != errNotInSet {
		return key, err
	}
	return r.lookUp(ctx, kid, method)
}

// lookUp returns a key that was not in the set a moment ago.
func (r *remote) lookUp(ctx context.Context, kid string, method jwt.SigningMethod) (any, error) {
	w := wantedOf(kid, method)
	done, refused := r.want(w)
	if refused == nil {
		refused = r.await(ctx, done, w)
	}
	// Look again, even after a refusal: a fetch may have brought the key since the first look.
	key, err := r.set.Load().pick(kid, method)
	//nolint:errorlint // pick returns these very values.
	if err == errNotInSet {
		err = refused
	}
	return key, err
}

// want asks for a fetch that looks up an unknown key, unless the last one has. done is closed
// when the fetch under way, else the next, has ended.
func (r *remote) want(w wanted) (done chan struct{}, refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lacks(w) || r.stopped {
		return nil, r.refusal(w)
	}
	if n, ok := r.named.Get(w); !ok || n+1 < r.begun || n+1 == r.begun && !r.fetching {
		r.named.Add(w, r.begun)
		select {
		case r.wake <- struct{}{}:
		default: // asked for already
		}
	}
	if !r.fetching && r.tooSoon() > patience {
		return nil, r.refusal(w)
	}
	return r.done, nil
}

// await waits for a fetch, and returns the refusal that applies if its set lacks the key.
func (r *remote) await(ctx context.Context, done <-chan struct{}, w wanted) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case r.waiting <- struct{}{}:
		defer func() { <-r.waiting }()
	default:
		return refuse(ReasonKeysUnavailable, "too many wait for the key set")
	}
	select {
	case <-done:
	case <-ctx.Done():
		return refuse(ReasonKeysUnavailable, "the key set is late")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal(w)
}

// tooSoon is how long it takes until there may be another fetch. mu is held.
func (r *remote) tooSoon() time.Duration {
	if r.began.IsZero() {
		return 0
	}
	return max(0, time.Until(r.began.Add(cooldown)))
}

// lacks reports whether the last fetch looked for the key and did not find it. That counts
// for the cooldown. mu is held.
func (r *remote) lacks(w wanted) bool {
	n, ok := r.named.Peek(w)
	return ok && n+1 == r.begun && !r.fetching && !r.failing && r.tooSoon() > 0
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
		wait := refreshEvery
		if r.refresh(ctx) {
			retry = firstRetry
		} else {
			wait, retry = retry, min(2*retry, lastRetry)
		}
		// Spread, so that nodes that start together do not ask together for ever.
		if !r.pause(ctx, wait-rand.N(wait/10+1)) { //nolint:gosec // jitter, no secret
			return
		}
	}
}

// pause waits until the next fetch: for so long, or until one is asked for and may be made.
// It reports whether ctx is not done.
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
	set, err := r.fetch(ctx)
	if ctx.Err() != nil {
		return false // ours to end, and no fault of the endpoint
	}
	before, was := r.set.Load(), r.failing // nobody else writes them
	r.end(set)
	if err != nil {
		r.fetches.WithLabelValues("failed").Inc()
		if !was {
			r.logger.Warn("key set not fetched, the last one stays in use", "error", err, "has_keys", before != nil)
		}
		return false
	}
	r.fetches.WithLabelValues("ok").Inc()
	if was {
		r.logger.Info("key set fetched again", "keys", len(set.keys))
	}
	if set.leftOut > 0 && (before == nil || before.leftOut != set.leftOut) {
		r.logger.Warn("key set has keys that are not public keys for signatures, or too weak", "left_out", set.leftOut, "keys", len(set.keys))
	}
	return true
}

// fetch asks for the set once. Its errors do not repeat the address.
func (r *remote) fetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	q := &http.Request{Method: http.MethodGet, URL: r.url, Header: http.Header{
		"Accept": {"application/jwk-set+json, application/json"}, "User-Agent": {"refresher"},
	}}
	answer, err := r.client.Do(q.WithContext(ctx))
	if u, ok := errors.AsType[*url.Error](err); ok {
		return nil, u.Err
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySet {
		return nil, fmt.Errorf("answered with more than %d bytes", maxKeySet)
	}
	return readKeySet(text)
}

func (r *remote) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.wake: // it asked for this fetch
	default:
	}
	r.begun++
	r.began, r.fetching = time.Now(), true
}

// end takes a set that was fetched, nil for none, and lets those go who wait. Keys that were asked
// for while the fetch was under way are left to the next: they may have been published after the
// endpoint had made its answer.
func (r *remote) end(set *keySet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetching, r.failing = false, set == nil
	if set != nil {
		r.set.Store(set)
		r.fetched = time.Now()
	}
	close(r.done)
	r.done = make(chan struct{})
}

// stop lets those go who wait for a fetch that will not be.
func (r *remote) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	close(r.done)
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
