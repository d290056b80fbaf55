package scheduler

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// lateLimit is how late a renewal may be before the node counts as one that
	// cannot renew in time. Tokens are renewed 45 s before their end at least,
	// if they live as long as they should.
	lateLimit = 10 * time.Second
	// stillLimit is how long Run may stand still: it goes round at each
	// clockCheckEvery.
	stillLimit = 3 * clockCheckEvery
	// failureHolds is for how long a failure to mint counts that no success
	// followed.
	failureHolds = 10 * time.Second
)

// pulse is what shows that the scheduler works. It is safe for concurrent use.
type pulse struct {
	beaten atomic.Int64 // when Run last went round, on the monotonic clock; 0: never
	failed atomic.Int64 // when minting last failed, with no success since; 0: it did not
}

func (p *pulse) beat(now time.Duration) { p.beaten.Store(int64(max(1, now))) }

// minted notes whether tokens could be made.
func (p *pulse) minted(err error, now time.Duration) {
	switch {
	case err != nil:
		p.failed.Store(int64(max(1, now)))
	case p.failed.Load() != 0: // spares the processor's caches a write
		p.failed.Store(0)
	}
}

// Health returns an error that says why the node could not renew in time: what it
// has to do is late, nothing is done at all, or tokens cannot be made. New calls
// are better off on another node then.
func (s *Scheduler) Health() error {
	now := s.clock.now().Mono
	if s.pulse.beaten.Load() == 0 {
		return fmt.Errorf("renewals have not begun")
	} else if still := s.Still(); still > stillLimit {
		return fmt.Errorf("renewals stand still, for %.0f s", still.Seconds())
	}
	if failed := time.Duration(s.pulse.failed.Load()); failed != 0 && now-failed < failureHolds {
		return fmt.Errorf("tokens cannot be minted; the log says why")
	}
	s.mu.Lock()
	behind := s.queue.Behind(now)
	s.mu.Unlock()
	if behind > lateLimit {
		return fmt.Errorf("renewals are %.0f s late", behind.Seconds())
	}
	return nil
}

// Still is for how long Run has not gone round; 0 until it first does. It takes no
// lock, so that it answers whatever Run waits for.
func (s *Scheduler) Still() time.Duration {
	beaten := time.Duration(s.pulse.beaten.Load())
	if beaten == 0 {
		return 0
	}
	return s.clock.now().Mono - beaten
}

// throttle lets a log line through at most once in throttleEvery, and counts the
// others. It is safe for concurrent use.
type throttle struct {
	next    atomic.Int64 // on the monotonic clock
	skipped atomic.Int64
}

const throttleEvery = 10 * time.Second

// allow reports whether the line may be written, and how many were not since the
// last.
func (t *throttle) allow(now time.Duration) (ok bool, skipped int64) {
	next := t.next.Load()
	if int64(now) < next || !t.next.CompareAndSwap(next, int64(now+throttleEvery)) {
		t.skipped.Add(1)
		return false, 0
	}
	return true, t.skipped.Swap(0)
}
