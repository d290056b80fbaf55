package events

import (
	"math/rand/v2"
	"time"
)

const (
	// minWait and maxWait bound every wait after a failure.
	minWait = time.Second
	maxWait = 5 * time.Minute
	// maxProbeWait bounds the waits of an endpoint that answers, but refuses:
	// it may be the events that it does not like, and the next one is better.
	maxProbeWait = 10 * time.Second
	// tripAfter is how many attempts fail in a row before the endpoint counts
	// as failing. A few events that are always refused must not reach it.
	tripAfter = 8
)

// backoff is how long to wait after the nth failure in a row, from 1: anything
// between minWait and a bound that doubles up to limit, so that neither events
// nor nodes come back in step.
func backoff(n int, limit time.Duration) time.Duration {
	bound := min(minWait<<min(n, 10), limit) // 2¹⁰ s is beyond any limit
	return minWait + rand.N(bound-minWait+1) //nolint:gosec // a spread, not a secret
}

// circuit decides whether the endpoint is tried at all. Closed, attempts begin
// freely; open, one after each wait. It is not safe for concurrent use.
type circuit struct {
	failures int       // in a row, while closed
	open     bool      // the endpoint is failing
	since    time.Time // when it opened
	waits    int       // since then
	until    time.Time // when a probe may begin
	probing  bool      // one is under way
	epoch    uint64    // counts changes of open
}

// ticket is one attempt.
type ticket struct {
	epoch uint64
	probe bool
}

// allows reports whether an attempt may begin at now. If not, at is when it
// may; the zero time: when the probe has ended.
func (c *circuit) allows(now time.Time) (ok bool, at time.Time) {
	switch {
	case !c.open:
		return true, time.Time{}
	case c.probing:
		return false, time.Time{}
	default:
		return !c.until.After(now), c.until
	}
}

// begin starts an attempt that allows allowed.
func (c *circuit) begin() ticket {
	c.probing = c.open
	return ticket{epoch: c.epoch, probe: c.open}
}

// end ends an attempt, whatever came of it.
func (c *circuit) end(t ticket) {
	if t.probe {
		c.probing = false
	}
}

// succeeded ends an attempt that the endpoint dealt with. It reports whether
// that closed the circuit. An attempt that began before the circuit last
// changed says nothing new.
func (c *circuit) succeeded(t ticket) (closed bool) {
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

// failed ends an attempt that came to a, a failure. It reports whether that
// opened the circuit.
func (c *circuit) failed(t ticket, now time.Time, a answer) (opened bool) {
	c.end(t)
	current := t.epoch == c.epoch
	if c.open && !current {
		// It was under way when the circuit opened: it says nothing new, but
		// for what it was told.
		c.until = later(c.until, now.Add(a.retryAfter))
		return false
	}
	if !c.open {
		if current {
			c.failures++
		}
		if c.failures < tripAfter && a.retryAfter == 0 {
			return false
		}
		c.open, c.since, c.waits, c.until = true, now, 0, time.Time{}
		c.epoch++
		opened = true
	}
	c.waits++
	limit := maxProbeWait
	if a.absent() {
		limit = maxWait
	}
	c.until = later(c.until, now.Add(max(a.retryAfter, backoff(c.waits, limit))))
	return opened
}

// hasten ends the wait.
func (c *circuit) hasten() { c.until = time.Time{} }

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
