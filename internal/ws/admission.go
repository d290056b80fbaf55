package ws

import (
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

// longestWait bounds what a client is told to wait. One that held tokens would
// lose them over a longer one.
const longestWait = 30 * time.Second

// patience is which part of what is left of its tokens a client may be told to wait,
// so that it is here again while they are good, and more often if they end soon.
const patience = 3

// lifeLeft is how long tokens work that run out at expiresAt. That is
// the client's word: who lies only waits for less.
func lifeLeft(expiresAt session.UnixSec) time.Duration { return time.Until(expiresAt.Time()) }

// admission is the rate at which a node takes clients. In a storm those come first
// whose tokens have the least life left; tools/plan/planner simulates what that is worth.
type admission struct {
	admits  *rate.Limiter
	slots   *rate.Limiter // hands out moments to come back at
	hurries *rate.Limiter // of those whose tokens have run out
}

func newAdmission(perSecond float64) *admission {
	limit, burst := rate.Limit(perSecond), max(1, int(perSecond))
	return &admission{admits: rate.NewLimiter(limit, burst), slots: rate.NewLimiter(limit, 1), hurries: rate.NewLimiter(limit, burst)}
}

// minWait is what a client that is in a hurry is told to wait at least.
const minWait = time.Second

// wait is how long a client has to, zero for not at all. It says that its tokens
// run out at expiresAt; 0: it has none. A nil admission takes
// everybody.
func (a *admission) wait(expiresAt session.UnixSec) time.Duration {
	if a == nil || a.admits.Allow() {
		return 0
	}
	// Those who are turned away get a time slot each, at the rate at which
	// they can be served, so that they do not all come back together; those
	// for whom there is none soon get any moment.
	slot := a.slots.Reserve()
	wait := slot.Delay()
	if wait > longestWait {
		slot.Cancel()
		wait = rand.N(longestWait) //nolint:gosec // a spread, not a secret
	}
	switch left := lifeLeft(expiresAt); {
	case expiresAt == 0:
	case left > 0:
		wait = min(wait, max(minWait, left/patience))
	case a.hurries.Allow(): // it is out of its call; but all of them would knock without end
		wait = min(wait, minWait)
	}
	return max(time.Millisecond, wait)
}
