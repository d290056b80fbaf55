package scheduler

import (
	"time"

	"refresher/internal/session"
)

// stepThreshold is by how much the wall clock must differ from the monotonic clock between
// two checks to count as set. NTP's slewing stays far below it.
const stepThreshold = time.Second

// clock reads both clocks at once.
type clock struct {
	origin time.Time        // where Mono is zero
	wall   func() time.Time // the wall clock; tests replace it
	ahead  time.Duration    // wall minus Mono at the last check; only Run uses it
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

// step returns by how much the wall clock was set forward since the last call; negative if
// it was set back, 0 if it was not set.
func (c *clock) step() time.Duration {
	lead := c.lead()
	step := lead - c.ahead
	c.ahead = lead
	if step.Abs() < stepThreshold {
		return 0
	}
	return step
}
