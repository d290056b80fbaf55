package limit

import (
	"errors"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

const (
	maxKeys = 100_000
	// prefixBits is how many bits of an IPv6 address form the key.
	prefixBits = 64
	// maxWait bounds retryAfter, which would overflow at the smallest rates.
	maxWait = 365 * 24 * time.Hour
)

// Config configures a Limiter.
type Config struct {
	// Rate is how many actions a second each key may perform on average. 0 means unlimited.
	Rate float64
	// Burst is how many actions an idle key may perform at once. 0 means one second's worth
	// of Rate, but at least 1.
	Burst int
}

// Limiter limits how often each key may act. It is safe for concurrent use. A
// nil Limiter allows every action.
type Limiter struct {
	rate  rate.Limit
	burst int
	seed  maphash.Seed

	mu      sync.Mutex
	buckets *simplelru.LRU[uint64, *rate.Limiter] // guarded by mu
}

// New makes a Limiter. If c.Rate is 0, it returns nil without an error.
func New(c Config) (*Limiter, error) {
	if !(c.Rate >= 0) || math.IsInf(c.Rate, 0) || c.Burst < 0 {
		return nil, errors.New("want 0 (unlimited) or more actions a second")
	}
	if c.Rate == 0 {
		return nil, nil
	}
	if c.Burst == 0 {
		c.Burst = max(1, int(math.Ceil(min(c.Rate, math.MaxInt32))))
	}
	buckets, err := simplelru.NewLRU[uint64, *rate.Limiter](maxKeys, nil)
	return &Limiter{rate: rate.Limit(c.Rate), burst: c.Burst, seed: maphash.MakeSeed(), buckets: buckets}, err
}

// Allow takes one action from key's bucket and reports whether the action is allowed now. If not, retryAfter is the
// time after which the key may act again, unless other actions with this key come first.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) {
	if l == nil {
		return true, 0
	}
	return l.take(maphash.String(l.seed, key))
}

// AllowAddr is like Allow, for a client's address. All IPv6 addresses in a /64 share one bucket. Clients without an
// address, which have the zero Addr, share one bucket, too.
func (l *Limiter) AllowAddr(a netip.Addr) (ok bool, retryAfter time.Duration) {
	if l == nil {
		return true, 0
	}
	a = plain(a)
	if a.Is6() {
		p, _ := a.Prefix(prefixBits) // cannot fail: an IPv6 address has more bits than prefixBits
		a = p.Addr()
	}
	b := a.As16() // a call of the hash function with the Addr itself would allocate memory
	return l.take(maphash.Bytes(l.seed, b[:]))
}

func (l *Limiter) take(key uint64) (ok bool, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, known := l.buckets.Get(key)
	if !known {
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.buckets.Add(key, bucket)
	}
	now := time.Now()
	if bucket.AllowN(now, 1) {
		return true, 0
	}
	// Round up to the next millisecond, so that the wait is never too short.
	wait := min((1-bucket.TokensAt(now))/float64(l.rate), maxWait.Seconds())
	return false, time.Duration(wait*float64(time.Second)).Truncate(time.Millisecond) + time.Millisecond
}
