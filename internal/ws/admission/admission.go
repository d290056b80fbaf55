// Package admission limits how many clients a node admits per second. In a reconnect storm, the clients whose tokens
// expire first get the shortest retry delays. The program tools/plan simulates reconnect storms with this package.
package admission

import (
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

const (
	// A client whose tokens expire soon, or have expired, waits at least minDelay. No client waits longer than MaxDelay.
	minDelay = time.Second
	MaxDelay = 30 * time.Second
	// A delay is at most 1/lifePart of the time until the client's tokens expire, so that the client can retry several
	// times before they expire.
	lifePart = 3
)

// Admission limits the rate of joins and resumes. It is safe for concurrent use.
type Admission struct {
	admits  *rate.Limiter // limits how many clients are admitted per second
	slots   *rate.Limiter // reserves the times at which delayed clients retry
	expired *rate.Limiter // limits how many clients with expired tokens get the short delay minDelay
	spread  func(time.Duration) time.Duration
}

// New returns an Admission that admits perSecond clients a second. The function `spread` returns a random duration of
// at most its argument.
func New(perSecond float64, spread func(time.Duration) time.Duration) *Admission {
	limit, burst := rate.Limit(perSecond), max(1, int(perSecond))
	return &Admission{
		admits: rate.NewLimiter(limit, burst), slots: rate.NewLimiter(limit, 1), expired: rate.NewLimiter(limit, burst), spread: spread,
	}
}

// Delay returns how long the client must wait before it retries; 0 admits the client now. The argument expiresAt is when
// the client's tokens expire according to the client; it is 0 if the client has no tokens. A nil Admission admits every
// client.
func (a *Admission) Delay(now time.Time, expiresAt session.UnixSec) time.Duration {
	if a == nil || a.admits.AllowN(now, 1) {
		return 0
	}
	// The limiter `slots` gives each client its own time to retry, so that clients do not retry together. If all times
	// within MaxDelay are taken, the client retries at a random time.
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
	case a.expired.AllowN(now, 1): // the tokens have expired, so Agora has already disconnected the client's call: the client gets the shortest delay
		delay = min(delay, minDelay)
	}
	return max(time.Millisecond, delay)
}
