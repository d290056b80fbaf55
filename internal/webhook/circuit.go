package webhook

import "time"

// Circuit decides whether the endpoint is tried at all. Closed, attempts begin
// freely; open, one after each wait. The zero value, with Trip set, is closed.
// It is not safe for concurrent use.
type Circuit struct {
	// Trip is how many attempts fail in a row before the endpoint counts as
	// failing.
	Trip int

	failures int       // in a row, while closed
	open     bool      // the endpoint is failing
	since    time.Time // when it opened
	waits    int       // since then
	until    time.Time // when a probe may begin
	probing  bool      // one is under way
	epoch    uint64    // counts changes of open
}

// Ticket is one attempt.
type Ticket struct {
	epoch uint64
	probe bool
}

// Open reports whether the endpoint counts as failing.
func (c *Circuit) Open() bool { return c.open }

// Since is when it last began to count as failing.
func (c *Circuit) Since() time.Time { return c.since }

// Allows reports whether an attempt may begin at now. If not, at is when it
// may; the zero time: when the probe has ended.
func (c *Circuit) Allows(now time.Time) (ok bool, at time.Time) {
	switch {
	case !c.open:
		return true, time.Time{}
	case c.probing:
		return false, time.Time{}
	default:
		return !c.until.After(now), c.until
	}
}

// Begin starts an attempt that Allows allowed.
func (c *Circuit) Begin() Ticket {
	c.probing = c.open
	return Ticket{epoch: c.epoch, probe: c.open}
}

// end ends an attempt, whatever came of it.
func (c *Circuit) end(t Ticket) {
	if t.probe {
		c.probing = false
	}
}

// Succeeded ends an attempt that the endpoint dealt with. It reports whether
// that closed the circuit. An attempt that began before the circuit last
// changed says nothing new.
func (c *Circuit) Succeeded(t Ticket) (closed bool) {
	c.end(t)
	if t.epoch != c.epoch {
		return false
	}
	c.failures = 0
	if !c.open {
		return false
	}
	c.open = false
	c.epoch++
	return true
}

// Failed ends an attempt that failed; the endpoint asked to be left alone for
// retryAfter, or 0. The wait for the next one is bounded by limit, but for
// retryAfter. It reports whether that opened the circuit.
func (c *Circuit) Failed(t Ticket, now time.Time, retryAfter, limit time.Duration) (opened bool) {
	c.end(t)
	current := t.epoch == c.epoch
	if c.open && !current {
		// It was under way when the circuit opened: it says nothing new, but
		// for what it was told.
		c.until = later(c.until, now.Add(retryAfter))
		return false
	}
	if !c.open {
		if current {
			c.failures++
		}
		if c.failures < c.Trip && retryAfter == 0 {
			return false
		}
		c.open, c.since, c.waits, c.until = true, now, 0, time.Time{}
		c.epoch++
		opened = true
	}
	c.waits++
	c.until = later(c.until, now.Add(max(retryAfter, Backoff(c.waits, limit))))
	return opened
}

// Hasten ends the wait.
func (c *Circuit) Hasten() { c.until = time.Time{} }

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
