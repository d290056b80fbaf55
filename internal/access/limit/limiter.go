package limit

import (
	"errors"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultKeys = 100_000
	// shards is how many parts of a Limiter can be used at once.
	shards = 16
	// prefixBits is how much of an IPv6 address makes a key.
	prefixBits = 64
)

// Config says how much a Limiter allows.
type Config struct {
	// Rate is how many actions a second a key may do in the long run. Zero is
	// unlimited.
	Rate float64
	// Burst is how many it may do at once after it was idle. Zero means what
	// Rate gives in a second, and at least 1.
	Burst int
	// MaxKeys bounds how many keys are remembered. Zero means 100,000.
	MaxKeys int
}

// Limiter limits how often each key may act. It is safe for concurrent use. A
// nil Limiter allows everything.
type Limiter struct {
	rate   rate.Limit
	burst  int
	seed   maphash.Seed
	shards [shards]shard
}

// New makes a Limiter. It is nil, without an error, when c.Rate is zero.
func New(c Config) (*Limiter, error) {
	if !(c.Rate >= 0) || math.IsInf(c.Rate, 0) {
		return nil, errors.New("want 0 (unlimited) or more actions a second")
	}
	if c.Burst < 0 || c.MaxKeys < 0 {
		return nil, errors.New("burst and keys: want 0 (the default) or more")
	}
	if c.Rate == 0 {
		return nil, nil
	}
	if c.Burst == 0 {
		c.Burst = max(1, int(math.Ceil(min(c.Rate, math.MaxInt32))))
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = defaultKeys
	}
	l := &Limiter{rate: rate.Limit(c.Rate), burst: c.Burst, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].init((c.MaxKeys + shards - 1) / shards)
	}
	return l, nil
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
	// A sum over bytes: those of an Addr itself would allocate.
	b := block(a).As16()
	return l.take(maphash.Bytes(l.seed, b[:]))
}

// block is the part of the network that counts as one client.
func block(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(prefixBits)
	if err != nil { // cannot be: 64 bits fit
		return a
	}
	return p.Addr()
}

func (l *Limiter) take(key uint64) (ok bool, retryAfter time.Duration) {
	s := &l.shards[key%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	bucket := s.bucket(key, l)
	if bucket.AllowN(now, 1) {
		return true, 0
	}
	// Longer by up to a millisecond, so that rounding never makes it too short.
	wait := min((1-bucket.TokensAt(now))/float64(l.rate), maxWait.Seconds())
	return false, time.Duration(wait*float64(time.Second)).Truncate(time.Millisecond) + time.Millisecond
}

// maxWait bounds retryAfter, which the smallest rates would overflow.
const maxWait = 365 * 24 * time.Hour

// shard is a part of the keys, the one used last first.
type shard struct {
	mu   sync.Mutex
	max  int
	keys map[uint64]*entry // guarded by mu
	// ring joins the entries: next is the one used last, previous the one idle
	// longest. Guarded by mu.
	ring entry
	_    [64]byte // keeps the next shard's lock out of this one's cache line
}

type entry struct {
	previous, next *entry
	key            uint64
	bucket         *rate.Limiter
}

func (s *shard) init(bound int) {
	s.max, s.keys = bound, make(map[uint64]*entry)
	s.ring.previous, s.ring.next = &s.ring, &s.ring
}

// bucket finds or makes the bucket of a key.
func (s *shard) bucket(key uint64, l *Limiter) *rate.Limiter {
	e, known := s.keys[key]
	switch {
	case known:
		e.unlink()
	case len(s.keys) >= s.max:
		e = s.ring.previous
		e.unlink()
		delete(s.keys, e.key)
	default:
		e = new(entry)
	}
	if !known {
		e.key, e.bucket = key, rate.NewLimiter(l.rate, l.burst)
		s.keys[key] = e
	}
	e.previous, e.next = &s.ring, s.ring.next
	e.previous.next, e.next.previous = e, e
	return e.bucket
}

func (e *entry) unlink() {
	e.previous.next, e.next.previous = e.next, e.previous
}
