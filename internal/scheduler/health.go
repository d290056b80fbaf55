package scheduler

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// lateLimit is how late a renewal may be. Tokens are renewed 45 s before their end at
	// least, if they live as long as they should.
	lateLimit = 10 * time.Second
	// stallLimit is how long Run may stand still: it goes round at each clockCheckEvery.
	stallLimit = 3 * clockCheckEvery
	// failureHolds is for how long a failure to mint counts that no success followed.
	failureHolds = 10 * time.Second
)

// health shows that the scheduler works. Times are on the monotonic clock.
type health struct {
	lastRound atomic.Int64 // when Run last went round, and did not find all workers stuck; 0: never
	failed    atomic.Int64 // when minting last failed, with no success since; 0: it did not
}

func (h *health) noteRound(now time.Duration) { h.lastRound.Store(int64(max(1, now))) }

// minted notes whether tokens could be made.
func (h *health) minted(err error, now time.Duration) {
	switch {
	case err != nil:
		h.failed.Store(int64(max(1, now)))
	case h.failed.Load() != 0: // spares the processor's caches a write
		h.failed.Store(0)
	}
}

// Health returns an error that says why the node could not renew in time: renewals are
// late, nothing is done at all, or tokens cannot be made. New calls are better off on
// another node then.
func (s *Scheduler) Health() error {
	now, still := s.clock.now().Mono, s.Stalled()
	failed := time.Duration(s.health.failed.Load())
	switch {
	case s.health.lastRound.Load() == 0:
		return fmt.Errorf("renewals have not begun")
	case still > stallLimit:
		return fmt.Errorf("renewals stand still, for %.0f s", still.Seconds())
	case failed != 0 && now-failed < failureHolds:
		return fmt.Errorf("tokens cannot be minted; the log says why")
	}
	if behind := s.table.behind(now); behind > lateLimit {
		return fmt.Errorf("renewals are %.0f s late", behind.Seconds())
	}
	return nil
}

// Still is for how long Run has not gone round; 0 until it first does. It takes no lock, so
// that it answers whatever Run waits for.
func (s *Scheduler) Stalled() time.Duration {
	lastRound := time.Duration(s.health.lastRound.Load())
	if lastRound == 0 {
		return 0
	}
	return s.clock.now().Mono - lastRound
}
