package hook

import (
	"math/rand/v2"
	"time"
)

// minWait is the least of all waits after a failure.
const minWait = time.Second

// backoff returns how long to wait after the nth failure in a row, from 1: anything
// between minWait and a bound that doubles up to limit, so that neither requests nor
// nodes come back in step.
func backoff(n int, limit time.Duration) time.Duration {
	bound := min(minWait<<min(n, 10), limit) // 2¹⁰ s is beyond any limit
	return minWait + rand.N(bound-minWait+1) //nolint:gosec // a spread, not a secret
}

// turn says what a circuit allows.
type turn int

const (
	hold  turn = iota // no request may begin
	ready             // any request may begin
	probe             // one may, to find out whether the endpoint answers again
)

// circuit decides whether the endpoint is tried at all. Closed, requests begin freely;
// open, one after each wait.
type circuit struct {
	trip     int       // how many requests fail in a row before it opens
	failures int       // in a row, while closed; since it opened, while open
	open     bool      // the endpoint counts as failing
	since    time.Time // when it last opened
	until    time.Time // when a probe may begin
	probing  bool      // one is under way
	changes  ticket    // of open
}

// ticket says between which changes of a circuit a request began.
type ticket uint64

// turn returns what may begin at now. While that is nothing, at is when a probe may
// begin, or zero: when the one under way has ended.
func (c *circuit) turn(now time.Time) (t turn, at time.Time) {
	switch {
	case !c.open:
		return ready, time.Time{}
	case c.probing:
		return hold, time.Time{}
	case c.until.After(now):
		return hold, c.until
	default:
		return probe, time.Time{}
	}
}

// begin starts a request that turn allows.
func (c *circuit) begin() ticket {
	c.probing = c.open
	return c.changes
}

// succeeded ends a request that the endpoint dealt with. It reports whether that closed
// the circuit.
func (c *circuit) succeeded(t ticket) (closed bool) {
	if t != c.changes {
		return false // it began before: it says nothing new
	}
	closed = c.open
	c.open, c.probing, c.failures = false, false, 0
	if closed {
		c.changes++
	}
	return closed
}

// failed ends a request that failed. retryAfter is what the endpoint's Retry-After asks for,
// or 0. The next wait is bounded by limit, but for retryAfter. It reports whether that
// opened the circuit.
func (c *circuit) failed(t ticket, now time.Time, retryAfter, limit time.Duration) (opened bool) {
	current := t == c.changes
	switch {
	case c.open && !current:
		c.postpone(now.Add(retryAfter)) // it says nothing else that is new
		return false
	case current:
		c.failures++
		c.probing = false
	}
	if !c.open {
		if c.failures < c.trip && retryAfter == 0 {
			return false
		}
		c.open, c.since, c.failures, c.until, opened = true, now, 1, now, true
		c.changes++
	}
	c.postpone(now.Add(max(retryAfter, backoff(c.failures, limit))))
	return opened
}

func (c *circuit) postpone(until time.Time) {
	if until.After(c.until) {
		c.until = until
	}
}

// hasten ends the wait.
func (c *circuit) hasten() { c.until = time.Time{} }
