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
	// refreshEvery is the time from a successful fetch to the next fetch. After a failed fetch the time is firstRetry.
	// It doubles with each further failure, up to lastRetry.
	refreshEvery = 10 * time.Minute
	firstRetry   = time.Second
	lastRetry    = time.Minute
	// fetchCooldown is the shortest time between two fetches for keys that are not in the set. Without
	// it, each made-up key id would cause a fetch.
	fetchCooldown = 10 * time.Second
	// maxFetchWait is how long a call of Verify waits for a fetch. If maxWaiting calls wait already, a
	// further call gets ReasonKeysUnavailable at once.
	maxFetchWait = 2 * time.Second
	maxWaiting   = 64
	maxUnknown   = 1000 // number of unknown keys that are remembered for one key set
	fetchTimeout = 10 * time.Second
	maxKeySet    = 512 << 10 // bytes
)

// remote is a key set at a URL. It is safe for concurrent use. Only the method `run` fetches the set, so at most one
// fetch is in progress at a time.
type remote struct {
	url     *url.URL
	client  *http.Client
	logger  *slog.Logger
	fetches *prometheus.CounterVec // by outcome

	set     atomic.Pointer[keySet] // nil before the first successful fetch
	wake    chan struct{}          // has one element after a fetch was requested
	waiting chan struct{}          // has one element for each caller that waits for a fetch

	mu       sync.Mutex    // guards the fields below
	done     chan struct{} // closed when the current fetch ends; if no fetch is in progress, when the next fetch ends
	begun    int           // the number of fetches that have begun
	began    time.Time     // when the last fetch began
	fetching bool          // a fetch is in progress
	failing  bool          // the last fetch that ended has failed
	fetched  time.Time     // when the last successful fetch ended
	stopped  bool          // run has returned
	// unknown maps each requested key that is not in the set to the number of fetches that had begun when the key was
	// requested. Only fetches that begin after the request count as a search for the key.
	unknown *simplelru.LRU[keyHash, int]
}

// keyHash is a hash of the key id and algorithm in a credential. A hash is used to bound the memory: a
// client can make a key id almost as long as MaxCredential.
type keyHash uint64

var hashSeed = maphash.MakeSeed()

func hashOf(kid string, method jwt.SigningMethod) keyHash {
	return keyHash(maphash.String(hashSeed, method.Alg()+" "+kid))
}

// CheckJWKSURL returns an error if a URL is unsuitable for a key set. The error does not contain
// the URL.
func CheckJWKSURL(address string) error {
	_, err := parseJWKSURL(address)
	return err
}

func parseJWKSURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, strings.Contains(address, "#"):
		return nil, errors.New("want a value such as https://login.example.com/.well-known/jwks.json, without a user")
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()):
		return nil, errors.New("want https; over http, an attacker on the network could replace the keys")
	}
	return u, nil
}

// newRemote returns the key set at an address. It does no I/O.
func newRemote(address string, client *http.Client, logger *slog.Logger) (*remote, error) {
	u, err := parseJWKSURL(address)
	if err != nil {
		return nil, fmt.Errorf("jwks-url: %w", err)
	}
	unknown, err := simplelru.NewLRU[keyHash, int](maxUnknown, nil)
	endpoint := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path} // without the query, which may contain a secret
	return &remote{
		url: u, client: client, logger: logger.With("endpoint", endpoint.String()),
		wake: make(chan struct{}, 1), waiting: make(chan struct{}, maxWaiting), done: make(chan struct{}), unknown: unknown,
	}, err
}

// find returns the key with which to verify a credential. It may wait for a fetch. Its error is a
// *RefusedError.
func (r *remote) find(ctx context.Context, kid string, method jwt.SigningMethod) (any, error) {
	key, err := r.set.Load().pick(kid, method)
	//nolint:errorlint // pick returns these very values.
	if err != errNotInSet {
		return key, err
	}
	return r.lookUp(ctx, kid, method)
}

// lookUp returns a key that was not in the set when the method `find` searched it. If a newer set may have the key,
// lookUp waits for a fetch.
func (r *remote) lookUp(ctx context.Context, kid string, method jwt.SigningMethod) (any, error) {
	w := hashOf(kid, method)
	done, refused := r.requestFetch(w)
	if refused == nil {
		refused = r.await(ctx, done, w)
	}
	// Search the set again, even if requestFetch has refused the key: a fetch may have brought the key after `find`
	// searched the set.
	key, err := r.set.Load().pick(kid, method)
	//nolint:errorlint // pick returns these very values.
	if err == errNotInSet {
		err = refused
	}
	return key, err
}

// requestFetch requests a fetch, unless the last fetch has already looked for the key. The channel `done` is closed
// when the current fetch ends; if no fetch is in progress, when the next fetch ends.
func (r *remote) requestFetch(w keyHash) (done chan struct{}, refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lacks(w) || r.stopped {
		return nil, r.refusal(w)
	}
	if n, ok := r.unknown.Get(w); !ok || n+1 < r.begun || n+1 == r.begun && !r.fetching {
		r.unknown.Add(w, r.begun)
		select {
		case r.wake <- struct{}{}:
		default: // another caller has requested a fetch
		}
	}
	if !r.fetching && r.tooSoon() > maxFetchWait {
		return nil, r.refusal(w)
	}
	return r.done, nil
}

// await waits for a fetch. It returns the error with which to refuse the credential if the set still lacks its key
// afterwards.
func (r *remote) await(ctx context.Context, done <-chan struct{}, w keyHash) error {
	ctx, cancel := context.WithTimeout(ctx, maxFetchWait)
	defer cancel()
	select {
	case r.waiting <- struct{}{}:
		defer func() { <-r.waiting }()
	default:
		return refuse(ReasonKeysUnavailable, "too many requests wait for the key set")
	}
	select {
	case <-done:
	case <-ctx.Done():
		return refuse(ReasonKeysUnavailable, "the key set was not fetched in time")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal(w)
}

// tooSoon returns how long fetchCooldown delays the next fetch. The caller holds mu.
func (r *remote) tooSoon() time.Duration {
	if r.began.IsZero() {
		return 0
	}
	return max(0, time.Until(r.began.Add(fetchCooldown)))
}

// lacks reports whether the last fetch began less than fetchCooldown ago, looked for the key, and did not find it. The
// caller holds mu.
func (r *remote) lacks(w keyHash) bool {
	n, ok := r.unknown.Peek(w)
	return ok && n+1 == r.begun && !r.fetching && !r.failing && r.tooSoon() > 0
}

// refusal returns errNotInSet if the last fetch did not find the key. It returns
// ReasonKeysUnavailable if no fetch has looked for the key yet, or if the last fetch failed. The
// caller holds mu.
func (r *remote) refusal(w keyHash) error {
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

// run fetches the set at once and then periodically, until ctx is done.
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
		// The jitter keeps nodes that started together from fetching at the same times.
		if !r.pause(ctx, wait-rand.N(wait/10+1)) { //nolint:gosec // jitter, no secret
			return
		}
	}
}

// pause waits for the given time. It returns earlier if a fetch is requested and the cooldown is over.
// It returns false if ctx is done.
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

// refresh fetches the set once and reports whether that succeeded.
func (r *remote) refresh(ctx context.Context) bool {
	r.begin()
	set, err := r.fetch(ctx)
	if ctx.Err() != nil {
		return false // the fetch failed because the service stops
	}
	before, was := r.set.Load(), r.failing // without mu, since only this goroutine writes these fields
	r.end(set)
	if err != nil {
		r.fetches.WithLabelValues("failed").Inc()
		if !was {
			r.logger.Warn("key set cannot be fetched, the last one stays in use", "error", err, "has_keys", before != nil)
		}
		return false
	}
	r.fetches.WithLabelValues("ok").Inc()
	if was {
		r.logger.Info("key set fetched again", "keys", len(set.keys))
	}
	if set.leftOut > 0 && (before == nil || before.leftOut != set.leftOut) {
		r.logger.Warn("key set has unusable keys: not public signature keys, or too weak", "left_out", set.leftOut, "keys", len(set.keys))
	}
	return true
}

// fetch sends one request for the set. Its errors do not contain the URL.
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
	case <-r.wake: // this fetch also serves the request in the channel
	default:
	}
	r.begun++
	r.began, r.fetching = time.Now(), true
}

// end stores the fetched set, which is nil after a failure, and wakes the callers that wait. A key that was requested
// during this fetch is looked up again by the next fetch: the key may have been published after the endpoint made its
// answer to this fetch.
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

// stop wakes the callers that wait for a fetch, since no further fetch will begin.
func (r *remote) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	close(r.done)
}

// age returns the age of the set, or the time since the parameter `begin` if no set was fetched yet.
func (r *remote) age(begin time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fetched.IsZero() {
		begin = r.fetched
	}
	return time.Since(begin)
}
