package planner

import (
	"time"

	"refresher/internal/session"
)

// Jitter is how much earlier than its head start the session with this id renews.
// It is read off a session, so that there is one rule.
func Jitter(id string, headStart time.Duration) time.Duration {
	policy := session.Policy{RenewBefore: headStart}
	const lifetime = session.MaxLifetime
	s := session.New(session.Key{Session: id, Terms: session.Terms{TTL: lifetime, Until: 1 << 32}}, &policy, session.Instant{})
	s.Attach(session.Tokens{ExpiresAt: session.UnixSec(lifetime / time.Second)}, session.Instant{})
	return lifetime - headStart - s.Deadline()
}
