// Package admission is the rate at which a node takes clients. In a reconnect storm,
// clients whose tokens have the least life left come first; tools/plan simulates the
// effect with this package.
package admission

import (
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

const (
	// minDelay and MaxDelay bound how long a client is told to wait. One that holds tokens
	// would lose them over a longer delay.
	minDelay = time.Second
	MaxDelay = 30 * time.Second
	// part: a client waits for at most 1/part of the life left in its tokens, so that it can
	// come back several times.
	part = 3
)

// Admission admits clients at a rate. It is safe for concurrent use.
type Admission struct {
	admits  *rate.Limiter
	slots   *rate.Limiter // of moments to come back at
	expired *rate.Limiter // of clients whose tokens have run out, and who come back at once
	spread  func(time.Duration) time.Duration
}

// New returns an Admission of so many clients a second. spread draws a span up to its
// argument at random.
func New(perSecond float64, spread func(time.Duration) time.Duration) *Admission {
	limit, burst := rate.Limit(perSecond), max(1, int(perSecond))
	return &Admission{
		admits: rate.NewLimiter(limit, burst), slots: rate.NewLimiter(limit, 1), expired: rate.NewLimiter(limit, burst), spread: spread,
	}
}

// Delay returns how long a client must wait before it tries again; 0 admits it now. It
// says that its tokens run out at expiresAt; 0: it has none. A nil Admission admits all.
func (a *Admission) Delay(now time.Time, expiresAt session.UnixSec) time.Duration {
	if a == nil || a.admits.AllowN(now, 1) {
		return 0
	}
	// Each client gets a slot of its own, at the rate at which clients are admitted, so
	// that they do not come back together. If none is free soon, it gets a random moment.
	slot := a.slots.ReserveN(now, 1)
	delay := slot.DelayFrom(now)
	if delay > MaxDelay {
		slot.CancelAt(now)
		delay = a.spread(MaxDelay)
	}
	switch left := expiresAt.Time().Sub(now); {
	case expiresAt == 0:
	case left > 0:
		delay = min(delay, max(minDelay, left/part))
	case a.expired.AllowN(now, 1): // it is out of its call
		delay = min(delay, minDelay)
	}
	return max(time.Millisecond, delay)
}
