// Package admission limits how many clients a node admits per second. In a reconnect storm,
// clients whose tokens expire soonest are told the shortest delays. tools/plan simulates storms
// with this package.
package admission

import (
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

const (
	// minDelay and MaxDelay bound the delay that a client is told. A longer delay could
	// outlast the tokens that it holds.
	minDelay = time.Second
	MaxDelay = 30 * time.Second
	// A client waits at most 1/lifePart of the time left until its tokens expire, so it can
	// retry several times before they do.
	lifePart = 3
)

// Admission limits the rate of joins and resumes. It is safe for concurrent use.
type Admission struct {
	admits  *rate.Limiter // clients admitted now
	slots   *rate.Limiter // times at which delayed clients retry
	expired *rate.Limiter // delayed clients whose tokens have expired, and who retry after minDelay
	spread  func(time.Duration) time.Duration
}

// New returns an Admission of perSecond clients a second. spread returns a random duration of
// at most its argument.
func New(perSecond float64, spread func(time.Duration) time.Duration) *Admission {
	limit, burst := rate.Limit(perSecond), max(1, int(perSecond))
	return &Admission{
		admits: rate.NewLimiter(limit, burst), slots: rate.NewLimiter(limit, 1), expired: rate.NewLimiter(limit, burst), spread: spread,
	}
}

// Delay returns how long the client must wait before it retries; 0 admits it now. expiresAt is
// when the client's tokens expire by its own word; 0 if it has none. A nil Admission admits all.
func (a *Admission) Delay(now time.Time, expiresAt session.UnixSec) time.Duration {
	if a == nil || a.admits.AllowN(now, 1) {
		return 0
	}
	// Each client gets its own retry slot, at the admission rate, so that clients do not retry
	// together. If no slot is free within MaxDelay, the client retries at a random time.
	slot := a.slots.ReserveN(now, 1)
	delay := slot.DelayFrom(now)
	if delay > MaxDelay {
		slot.CancelAt(now)
		delay = a.spread(MaxDelay)
	}
	switch left := expiresAt.Time().Sub(now); {
	case expiresAt == 0:
	case left > 0:
		delay = min(delay, max(minDelay, left/lifePart))
	case a.expired.AllowN(now, 1): // Agora has disconnected it from its call
		delay = min(delay, minDelay)
	}
	return max(time.Millisecond, delay)
}
