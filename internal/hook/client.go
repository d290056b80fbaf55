package hook

import (
	"context"
	"io"
	"log/slog"
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
	// Timeout bounds one request, from dialling to the end of the answer. Zero means
	// 10 s for an event, and 2 s for questions.
	Timeout time.Duration
	// Panics reports what is recovered from in a request, which then counts as failed.
	// Nil: a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// logEvery is how often the log may have a line of one kind; "unlogged" counts those that
// were left out.
const logEvery = time.Minute

// discipline decides what a client sends, and when: R is one request. A client calls next
// and done with its lock held.
type discipline[R any] interface {
	// next takes out the request to send at now. If there is none, at is when there may
	// be, or zero: when something has changed.
	next(now time.Time, t turn) (r *R, at time.Time)
	// send makes a request. It returns false if the end of run cut it off, which says
	// nothing of the endpoint, and nothing more becomes of the request.
	send(ctx context.Context, r *R) (verdict, bool)
	// done puts away a request that was sent. What it returns is called without the lock.
	done(r *R, o *outcome) (report func())
}

// verdict is what a request says of the endpoint.
type verdict struct {
	ok         bool          // the endpoint dealt with it
	retryAfter time.Duration // how long it wants to be left alone; 0 if it did not say
	limit      time.Duration // of the wait for the next one after a failure
}

// outcome is what a request came to, and what that did to the circuit.
type outcome struct {
	verdict
	at             time.Time
	opened, closed bool      // the circuit, by this request
	since          time.Time // when it was open from, if closed
	turn           turn      // what may begin now
}

// limits are those of a client.
type limits struct {
	atOnce  int           // requests under way
	timeout time.Duration // of one request
	wait    time.Duration // the longest after a failure, or that an answer may ask for
	answer  int64         // bytes of an answer that are read
}

// client sends what a discipline hands out to one endpoint.
type client[R any] struct {
	discipline discipline[R]
	endpoint   *endpoint
	limits     limits
	panics     *panics.Reporter
	wake       chan struct{}  // tells run that something has changed
	requests   sync.WaitGroup // under way

	mu      sync.Mutex
	circuit circuit   // guarded by mu
	running int       // guarded by mu; requests under way
	end     time.Time // guarded by mu; when run returns at the latest; zero until its context is done
	stopped bool      // guarded by mu; run has returned, and nothing more is taken
}

// run sends requests until ctx is done, and goes on for grace at most while there is
// something to send. What is under way then is cut off.
func (c *client[R]) run(ctx context.Context, grace time.Duration) {
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for {
		now := time.Now()
		if done != nil && ctx.Err() != nil {
			done = nil
			c.hasten(now.Add(grace))
		}
		s := c.step(now)
		if s.over {
			break
		}
		if s.request != nil {
			c.requests.Go(func() { c.request(requests, s.request, s.ticket) })
			continue
		}
		if s.at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(s.at.Sub(now))
		}
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

// step is what run does next: make a request; or wait until at, without end if it is zero;
// or return.
type step[R any] struct {
	request *R
	ticket  ticket
	at      time.Time
	over    bool
}

func (c *client[R]) step(now time.Time) step[R] {
	c.mu.Lock()
	defer c.mu.Unlock()
	ending := !c.end.IsZero()
	if ending && !now.Before(c.end) {
		return step[R]{over: true}
	}
	var t turn // hold
	var at time.Time
	if c.running < c.limits.atOnce {
		t, at = c.circuit.turn(now)
	}
	r, next := c.discipline.next(now, t)
	if r != nil {
		c.running++
		return step[R]{request: r, ticket: c.circuit.begin()}
	}
	return step[R]{at: sooner(sooner(at, next), c.end), over: ending && c.running == 0}
}

// sooner returns the sooner of two times, of which the zero one never comes.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (c *client[R]) request(ctx context.Context, r *R, t ticket) {
	if v, sent := c.discipline.send(ctx, r); sent {
		c.finish(r, t, v)
	}
}

// finish tells the circuit and the discipline what came of a request.
func (c *client[R]) finish(r *R, t ticket, v verdict) {
	o := outcome{verdict: v, at: time.Now()}
	c.mu.Lock()
	c.running--
	o.since = c.circuit.since
	if v.ok {
		o.closed = c.circuit.succeeded(t)
	} else {
		o.opened = c.circuit.failed(t, o.at, v.retryAfter, v.limit)
	}
	o.turn, _ = c.circuit.turn(o.at)
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

// answer is what came back of a request.
type answer struct {
	status     int // 0 if there was no answer
	body       []byte
	err        error         // why there is no answer, or not all of its body; repeats no secret
	retryAfter time.Duration // how long the endpoint wants to be left alone; 0 if it did not say
}

// post makes a request. args are attributes for the log of a panic.
func (c *client[R]) post(ctx context.Context, id string, body []byte, args ...any) (a answer) {
	defer c.panics.Recover(panics.Hook, &a.err, args...)
	ctx, cancel := context.WithTimeout(ctx, c.limits.timeout)
	defer cancel()
	response, err := c.endpoint.post(ctx, id, body)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, c.limits.answer+1))
	if err != nil {
		err = c.endpoint.discreet(err)
	}
	return answer{status: response.StatusCode, body: text, err: err, retryAfter: retryAfter(response, time.Now(), c.limits.wait)}
}
