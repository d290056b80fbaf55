package ws

import (
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

const (
	// minDelay and maxDelay bound how long a client is told to wait. One that holds tokens
	// would lose them over a longer delay.
	minDelay = time.Second
	maxDelay = 30 * time.Second
	// admissionPart: a client waits for at most 1/admissionPart of the life left in its
	// tokens, so that it can come back several times.
	admissionPart = 3
)

// lifeLeft is how long tokens work that run out at expiresAt. The client says so. A wrong
// answer only shortens its own delay.
func lifeLeft(expiresAt session.UnixSec) time.Duration { return time.Until(expiresAt.Time()) }

// admission is the rate at which a node takes clients. In a reconnect storm, clients whose
// tokens have the least life left come first; tools/plan simulates the effect.
type admission struct {
	admits  *rate.Limiter
	slots   *rate.Limiter // of moments to come back at
	expired *rate.Limiter // of clients whose tokens have run out, and who come back at once
}

func newAdmission(perSecond float64) *admission {
	limit, burst := rate.Limit(perSecond), max(1, int(perSecond))
	return &admission{admits: rate.NewLimiter(limit, burst), slots: rate.NewLimiter(limit, 1), expired: rate.NewLimiter(limit, burst)}
}

// delay returns how long a client must wait before it tries again; 0 admits it now. It
// says that its tokens run out at expiresAt; 0: it has none. A nil admission admits all.
func (a *admission) delay(expiresAt session.UnixSec) time.Duration {
	if a == nil || a.admits.Allow() {
		return 0
	}
	// Each client gets a slot of its own, at the rate at which clients are admitted, so
	// that they do not come back together. If none is free soon, it gets a random moment.
	slot := a.slots.Reserve()
	delay := slot.Delay()
	if delay > maxDelay {
		slot.Cancel()
		delay = rand.N(maxDelay) //nolint:gosec // a spread, not a secret
	}
	switch left := lifeLeft(expiresAt); {
	case expiresAt == 0:
	case left > 0:
		delay = min(delay, max(minDelay, left/admissionPart))
	case a.expired.Allow(): // it is out of its call
		delay = min(delay, minDelay)
	}
	return max(time.Millisecond, delay)
}
