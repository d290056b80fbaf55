package hook

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/panics"
)

// Config is what Events and Approval need.
type Config struct {
	// URL receives the requests: absolute, http or https, without a fragment. A user and
	// password in it are sent as basic authentication.
	URL string
	// Secret signs requests, and so does PreviousSecret, unless it is empty. Each is
	// "whsec_" and the base64 of 24 to 64 bytes, or a text of at least 24 bytes.
	Secret, PreviousSecret string
	// Timeout bounds one request, from dialling to the end of the answer. Zero means 10 s
	// for an event, and 2 s for questions.
	Timeout time.Duration
	// Panics reports what is recovered from in a request, which then counts as failed.
	// Nil: a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// unset returns what is wrong with a Config without a URL: a secret without a use.
func (c *Config) unset(name, use string) error {
	switch {
	case c.Secret != "":
		return fmt.Errorf("%s-secret: set without %s-url, which says %s", name, name, use)
	case c.PreviousSecret != "":
		return fmt.Errorf("%s-previous-secret: set without %s-url, which says %s", name, name, use)
	}
	return nil
}

// logEvery is how often the log may have a line of one kind.
const logEvery = time.Minute

// discipline decides what a client sends, and when: R is one request. A client calls next
// and done with its lock held.
type discipline[R any] interface {
	// next takes out the request to send at now. If there is none, at is when there may
	// be, or zero: when something has changed.
	next(now time.Time, t turn) (r *R, at time.Time)
	// send makes a request. It returns false if the end of run cut it off, which says
	// nothing of the endpoint, and nothing more becomes of the request.
	send(ctx context.Context, r *R) (outcome, bool)
	// done puts away a request that was sent. What it returns is called without the lock.
	done(r *R, o *outcome) (report func())
}

// outcome is what became of a request. The client sets at and what follows it.
type outcome struct {
	ok             bool          // the endpoint dealt with it
	retryAfter     time.Duration // the endpoint's Retry-After; 0 if it sent none
	limit          time.Duration // of the wait for the next request, after a failure
	at             time.Time
	opened, closed bool      // the circuit, by this request
	since          time.Time // when the circuit was opened before
}

// client sends what a discipline hands out to one endpoint.
type client[R any] struct {
	discipline discipline[R]
	endpoint   *endpoint
	wake       chan struct{}  // tells run that something has changed
	requests   sync.WaitGroup // under way

	mu      sync.Mutex
	circuit circuit   // guarded by mu
	running int       // guarded by mu; requests under way
	end     time.Time // guarded by mu; when run returns at the latest; zero until its context is done
	stopped bool      // guarded by mu; run has returned, and nothing more is taken
}

// newClient makes a client of d whose circuit opens after trip failures in a row.
func newClient[R any](d discipline[R], e *endpoint, trip int) *client[R] {
	return &client[R]{discipline: d, endpoint: e, circuit: circuit{trip: trip}, wake: make(chan struct{}, 1)}
}

// run sends requests until ctx is done, and goes on for grace at most while there is
// something to send. What is under way then is cut off.
func (c *client[R]) run(ctx context.Context, grace time.Duration) {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for {
		if done != nil && ctx.Err() != nil {
			done = nil
			c.hasten(time.Now().Add(grace))
		}
		wait, over := c.step(requests, time.Now())
		if over {
			break
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.wake:
		case <-done:
		}
	}
	cut()
	c.requests.Wait()
	c.endpoint.client.CloseIdleConnections()
}

// hasten ends all waits, and sets when run returns at the latest.
func (c *client[R]) hasten(end time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	c.circuit.hasten()
}

// step begins a request, if one may begin, and returns how long to wait for the next; or
// that run is over.
func (c *client[R]) step(ctx context.Context, now time.Time) (wait time.Duration, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ending := !c.end.IsZero()
	if ending && !now.Before(c.end) {
		return 0, true
	}
	var t turn // hold
	var at time.Time
	if c.running < c.endpoint.limits.atOnce {
		t, at = c.circuit.turn(now)
	}
	r, next := c.discipline.next(now, t)
	if r != nil {
		c.running++
		ticket := c.circuit.begin()
		c.requests.Go(func() {
			if o, sent := c.discipline.send(ctx, r); sent {
				c.finish(r, ticket, o)
			}
		})
		return 0, false
	}
	if at = sooner(sooner(at, next), c.end); at.IsZero() {
		return math.MaxInt64, false
	}
	return at.Sub(now), ending && c.running == 0
}

// sooner returns the earlier of two times. A zero time means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// finish tells the circuit and the discipline what became of a request.
func (c *client[R]) finish(r *R, t ticket, o outcome) {
	o.at = time.Now()
	c.mu.Lock()
	c.running--
	o.since = c.circuit.since
	if o.ok {
		o.closed = c.circuit.succeeded(t)
	} else {
		o.opened = c.circuit.failed(t, o.at, o.retryAfter, o.limit)
	}
	report := c.discipline.done(r, &o)
	c.mu.Unlock()
	signal(c.wake)
	report()
}

// signal wakes the reader of c, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
