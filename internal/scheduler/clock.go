package scheduler

import (
	"time"

	"refresher/internal/session"
)

// stepThreshold is how far the wall clock must move against the monotonic one,
// between two checks, to count as set. Slewing stays far below.
const stepThreshold = time.Second

// clock reads both clocks at once.
type clock struct {
	origin time.Time        // where Mono begins
	wall   func() time.Time // the wall clock; tests move it
	ahead  time.Duration    // of wall over Mono at the last check; Run's own
}

func newClock() clock {
	c := clock{origin: time.Now(), wall: time.Now}
	c.ahead = c.lead()
	return c
}

func (c *clock) now() session.Instant {
	return session.Instant{Mono: time.Since(c.origin), Wall: session.NanoOf(c.wall())}
}

func (c *clock) lead() time.Duration {
	now := c.now()
	return now.Wall.Sub(session.UnixNano(now.Mono))
}

// step returns by how much the wall clock was set ahead since the last call,
// negative for back, and zero when it was left alone.
func (c *clock) step() time.Duration {
	lead := c.lead()
	step := lead - c.ahead
	c.ahead = lead
	if step.Abs() < stepThreshold {
		return 0
	}
	return step
}
