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
	// prefixBits is how much of an IPv6 address makes a key.
	prefixBits = 64
	// maxWait bounds retryAfter, which the smallest rates would overflow.
	maxWait = 365 * 24 * time.Hour
)

// Config says how much a Limiter allows.
type Config struct {
	// Rate is how many actions a second a key may do in the long run. Zero is
	// unlimited.
	Rate float64
	// Burst is how many it may do at once after it was idle. Zero means what
	// Rate gives in a second, and at least 1.
	Burst int
}

// Limiter limits how often each key may act. It is safe for concurrent use. A
// nil Limiter allows everything.
type Limiter struct {
	rate  rate.Limit
	burst int
	seed  maphash.Seed

	mu      sync.Mutex
	buckets *simplelru.LRU[uint64, *rate.Limiter] // guarded by mu
}

// New makes a Limiter. It is nil, without an error, when c.Rate is zero.
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

// Allow takes one action of key, a subject for instance, and reports whether it
// may happen now. If not, retryAfter is when one may, unless others come first;
// else it is zero.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) {
	if l == nil {
		return true, 0
	}
	return l.take(maphash.String(l.seed, key))
}

// AllowAddr does what Allow does for a client's address, of which IPv6 counts
// by /64. All clients without an address, the zero Addr, count as one.
func (l *Limiter) AllowAddr(a netip.Addr) (ok bool, retryAfter time.Duration) {
	if l == nil {
		return true, 0
	}
	a = plain(a)
	if a.Is6() {
		p, _ := a.Prefix(prefixBits) // fails for more than 128 bits
		a = p.Addr()
	}
	b := a.As16() // a sum over an Addr itself would allocate
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
	// Longer by up to a millisecond, so that rounding never makes it too short.
	wait := min((1-bucket.TokensAt(now))/float64(l.rate), maxWait.Seconds())
	return false, time.Duration(wait*float64(time.Second)).Truncate(time.Millisecond) + time.Millisecond
}
