package scheduler

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// lateLimit is how late the most overdue renewal may be before Health fails. By default, tokens
	// that work for 90 s or more are renewed at least 45 s before they expire, so Health fails before
	// such tokens expire.
	lateLimit = 10 * time.Second
	// stallLimit is how long one round of Run's loop may take before Health fails. A round normally
	// takes at most clockCheckEvery.
	stallLimit = 3 * clockCheckEvery
	// failureHolds is how long Health fails after a failed attempt to mint tokens, unless an
	// attempt succeeds in between.
	failureHolds = 10 * time.Second
)

// health holds the times from which Health and Stalled derive their results, on the monotonic
// clock.
type health struct {
	// lastRound is when Run's loop last began a round while workers made progress, or 0 if it has
	// begun none.
	lastRound atomic.Int64
	// failed is when minting last failed, or 0 if it has never failed or has succeeded since.
	failed atomic.Int64
}

func (h *health) noteRound(now time.Duration) { h.lastRound.Store(int64(max(1, now))) }

// minted records the result of an attempt to mint tokens.
func (h *health) minted(err error, now time.Duration) {
	switch {
	case err != nil:
		h.failed.Store(int64(max(1, now)))
	case h.failed.Load() != 0:
		// The field is written only if it changes, since a write at each renewal would invalidate
		// other CPUs' caches.
		h.failed.Store(0)
	}
}

// Health returns an error if renewals are late, Run's loop has stalled, or minting fails. The node
// may then fail to renew tokens in time, so new clients should connect to another node.
func (s *Scheduler) Health() error {
	now, still := s.clock.now().Mono, s.Stalled()
	failed := time.Duration(s.health.failed.Load())
	switch {
	case s.health.lastRound.Load() == 0:
		return fmt.Errorf("renewals have not begun")
	case still > stallLimit:
		return fmt.Errorf("no renewal for %.0f s", still.Seconds())
	case failed != 0 && now-failed < failureHolds:
		return fmt.Errorf("tokens cannot be minted; the log says why")
	}
	if behind := s.table.behind(now); behind > lateLimit {
		return fmt.Errorf("renewals are %.0f s late", behind.Seconds())
	}
	return nil
}

// Stalled returns the time since Run's loop last began a round; 0 before the first round. It takes
// no lock, so it returns even if Run is blocked.
func (s *Scheduler) Stalled() time.Duration {
	lastRound := time.Duration(s.health.lastRound.Load())
	if lastRound == 0 {
		return 0
	}
	return s.clock.now().Mono - lastRound
}
