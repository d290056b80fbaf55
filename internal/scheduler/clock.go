package scheduler

import (
	"time"

	"refresher/internal/session"
)

// stepThreshold is the change of the difference between wall clock and monotonic clock, from one
// check to the next, above which the wall clock counts as set. NTP's gradual corrections stay far
// below it.
const stepThreshold = time.Second

// clock reads the wall clock and the monotonic clock at the same moment.
type clock struct {
	// origin is the time at which Instant.Mono is zero.
	origin time.Time
	// wall returns the wall clock's time. Tests replace it.
	wall func() time.Time
	// ahead is the wall clock minus Instant.Mono at the last check. Only Run uses it.
	ahead time.Duration
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

// step returns by how much the wall clock was set forward since the last call. The result is
// negative if the clock was set back, and 0 if it was not set.
func (c *clock) step() time.Duration {
	lead := c.lead()
	step := lead - c.ahead
	c.ahead = lead
	if step.Abs() < stepThreshold {
		return 0
	}
	return step
}
