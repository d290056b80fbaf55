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

// Config configures Events and Approval.
type Config struct {
	// URL is where requests are sent: absolute, http or https, without a fragment. A user and password in the URL are
	// sent as basic authentication.
	URL string
	// Secret signs requests. If PreviousSecret is not empty, each request has a second signature by it. A
	// secret is "whsec_" followed by the base64 of 24 to 64 bytes, or a text of at least 24 bytes.
	Secret, PreviousSecret string
	// Timeout limits one request, from dialling to the end of the answer. 0 means 10 s for an event and 2 s
	// for a batch of approval requests.
	Timeout time.Duration
	// Panics reports a panic during a request; that request counts as failed. If Panics is nil, a panic ends
	// the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// unset returns an error if c has a secret but no URL. The parameter `name` is the flags' prefix; `use` is the text
// that tells the operator what the URL is for.
func (c *Config) unset(name, use string) error {
	switch {
	case c.Secret != "":
		return fmt.Errorf("%s-secret: set without %s-url, which says %s", name, name, use)
	case c.PreviousSecret != "":
		return fmt.Errorf("%s-previous-secret: set without %s-url, which says %s", name, name, use)
	}
	return nil
}

// logEvery is the minimum time between two log lines of one kind.
const logEvery = time.Minute

// discipline is a queueing discipline: it decides which requests a client sends, and when. R is one HTTP request. The
// client holds its mutex while it calls the methods `next` and `done`.
type discipline[R any] interface {
	// next removes the next request from the queue and returns it. If no request may be sent at the time `now`, it
	// returns nil and the time of the next call of `next`; a zero time means that the client waits until it is woken.
	next(now time.Time, t turn) (r *R, at time.Time)
	// send sends a request. It returns false if the method `run` ended and cancelled the request: the outcome then says
	// nothing about the endpoint, and the client does not call `done`.
	send(ctx context.Context, r *R) (outcome, bool)
	// done is called after a request, and records its outcome. It returns a function that writes the log lines; the client calls that function
	// without holding its mutex.
	done(r *R, o *outcome) (report func())
}

// outcome is the result of one request. The queueing discipline sets the fields before `at`; the client sets `at` and
// the fields after it.
type outcome struct {
	ok             bool          // whether the endpoint accepted the request
	retryAfter     time.Duration // the endpoint's Retry-After; 0 if absent
	limit          time.Duration // the longest wait before the next request, after a failure
	at             time.Time     // when the request ended
	opened, closed bool          // whether the request opened or closed the circuit
	since          time.Time     // when the circuit had last opened before this request ended
}

// client sends the HTTP requests that a queueing discipline chooses to one endpoint, as far as the circuit breaker
// allows.
type client[R any] struct {
	discipline discipline[R]
	endpoint   *endpoint
	wake       chan struct{}  // wakes the method `run` when the queue or the circuit has changed
	requests   sync.WaitGroup // counts the goroutines of requests in progress

	mu      sync.Mutex
	circuit circuit   // guarded by mu
	running int       // guarded by mu; number of requests in progress
	end     time.Time // guarded by mu; latest time for `run` to return; zero until its context is done
	stopped bool      // guarded by mu; `run` has returned, so no request is accepted
}

// newClient returns a client that sends the requests of d. The parameter `trip` is the number of consecutive failures
// that open the circuit breaker.
func newClient[R any](d discipline[R], e *endpoint, trip int) *client[R] {
	return &client[R]{discipline: d, endpoint: e, circuit: circuit{trip: trip}, wake: make(chan struct{}, 1)}
}

// run sends requests until ctx is done. After that it sends the queued requests, for at most the duration `grace`, and
// cancels the requests that are still in progress.
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

// hasten ends all waits, and makes the method `run` return at the time `end` at the latest.
func (c *client[R]) hasten(end time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	c.circuit.hasten()
}

// step begins one request if the circuit breaker and the queueing discipline allow it. It returns how long to wait
// before the next call of `step`, and whether the method `run` must return.
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
		began := c.circuit.begin()
		c.requests.Go(func() {
			if o, sent := c.discipline.send(ctx, r); sent {
				c.finish(r, began, o)
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

// finish passes a request's outcome to the circuit breaker and the queueing discipline.
func (c *client[R]) finish(r *R, began generation, o outcome) {
	o.at = time.Now()
	c.mu.Lock()
	c.running--
	o.since = c.circuit.since
	if o.ok {
		o.closed = c.circuit.succeeded(began)
	} else {
		o.opened = c.circuit.failed(began, o.at, o.retryAfter, o.limit)
	}
	report := c.discipline.done(r, &o)
	c.mu.Unlock()
	signal(c.wake)
	report()
}

// signal wakes the goroutine that receives from c. If no goroutine waits, the next receive returns at once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
