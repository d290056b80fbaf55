package hook

import (
	"math/rand/v2"
	"time"
)

// minWait is the shortest wait after a failure.
const minWait = time.Second

// backoff returns the wait after the nth consecutive failure (n starts at 1): a random duration between
// minWait and a bound that doubles up to limit. The randomness keeps nodes from retrying at the same time.
func backoff(n int, limit time.Duration) time.Duration {
	bound := min(minWait<<min(n, 10), limit) // n is cut to 10, so that the shift cannot overflow; 2¹⁰ s is longer than any limit
	return minWait + rand.N(bound-minWait+1) //nolint:gosec // jitter, not a secret
}

// turn says which requests may begin now.
type turn int

const (
	hold  turn = iota // no request may begin
	ready             // any request may begin
	probe             // one request may begin, to test whether the endpoint answers again
)

// circuit is a circuit breaker. While it is closed, requests begin freely; while it is open, one
// probe begins after each wait.
type circuit struct {
	trip     int        // consecutive failures that open the circuit
	failures int        // consecutive failures; while the circuit is open, all failures since it opened
	open     bool       // the endpoint is failing, so only probes are sent
	since    time.Time  // time when the circuit last opened
	until    time.Time  // time of the next probe
	probing  bool       // whether a probe is in progress
	changes  generation // how often the circuit opened or closed
}

// generation numbers the states of a circuit, so that a request can tell whether the circuit has opened or
// closed since the request began.
type generation uint64

// turn returns which requests may begin at the time `now`. If the result is hold, the result `at` is the time at which
// the next probe may begin; `at` is zero while a probe is in progress.
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

// begin records that a request has begun. Call begin only if the method `turn` allows a request.
func (c *circuit) begin() generation {
	c.probing = c.open
	return c.changes
}

// succeeded records a request that the endpoint accepted, and reports whether it closed the circuit.
func (c *circuit) succeeded(began generation) (closed bool) {
	if began != c.changes {
		return false // the circuit has opened or closed since the request began
	}
	closed = c.open
	c.open, c.probing, c.failures = false, false, 0
	if closed {
		c.changes++
	}
	return closed
}

// failed records a failed request, and reports whether it opened the circuit. retryAfter is the endpoint's Retry-After,
// or 0. The next wait is at most `limit`, but if retryAfter is longer than `limit`, the next wait is retryAfter.
func (c *circuit) failed(began generation, now time.Time, retryAfter, limit time.Duration) (opened bool) {
	current := began == c.changes
	switch {
	case c.open && !current:
		c.postpone(now.Add(retryAfter)) // the request began before the circuit opened, so only its Retry-After has an effect
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

// hasten ends the wait for the next probe.
func (c *circuit) hasten() { c.until = time.Time{} }
