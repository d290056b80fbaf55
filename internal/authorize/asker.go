package authorize

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"refresher/internal/session"
	"refresher/internal/webhook"
)

// Asker asks the customer's back end. Ask is safe for concurrent use.
type Asker struct {
	config   Config
	endpoint *webhook.Endpoint
	metrics  *metrics
	log      logs
	prefix   string         // of ids; no other Asker has it
	ids      atomic.Uint64  // given so far
	waiting  atomic.Int64   // calls of Ask
	wake     chan struct{}  // tells Run that something has changed
	requests sync.WaitGroup // under way

	mu      sync.Mutex
	queue   queue           // guarded by mu
	circuit webhook.Circuit // guarded by mu
	down    error           // guarded by mu; what Ask says while the circuit is open
	limiter *rate.Limiter   // guarded by mu, with slot
	slot    time.Time       // guarded by mu; when the next request may begin, zero if not known yet
	running int             // guarded by mu; requests under way
	stopped bool            // guarded by mu; Run has returned, or is about to
}

var (
	errFull    = errors.New("too many questions wait already")
	errSlow    = errors.New("no turn or no answer in time")
	errStopped = errors.New("the node is stopping")
)

// New makes an Asker. Nothing is asked until Run is called.
func New(c Config) (*Asker, error) {
	endpoint, err := c.complete()
	if err != nil {
		return nil, err
	}
	a := &Asker{
		config:   c,
		endpoint: endpoint,
		log:      logs{logger: c.Logger.With("endpoint", endpoint.Origin())},
		prefix:   rand.Text()[:10] + "-",
		wake:     make(chan struct{}, 1),
		queue:    newQueue(),
		circuit:  webhook.Circuit{Trip: tripAfter},
		limiter:  rate.NewLimiter(rate.Limit(c.Rate), c.Concurrency),
	}
	a.config.Secret, a.config.PreviousSecret, a.config.URL = "", "", "" // where nothing can print them
	a.metrics = newMetrics(c.Registerer, a.waiting.Load, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.circuit.Open()
	})
	if endpoint.Exposed() {
		a.log.logger.Warn("questions travel in the clear: anybody on the way can read them, and answer them; use https")
	}
	return a, nil
}

// Ask asks q and waits for the answer, until ctx is done or Patience is over.
// It may be called before Run too. An error says that there is no answer, from
// whatever cause, and never means a denial; it repeats no secret.
func (a *Asker) Ask(ctx context.Context, q Question) (Answer, error) {
	began := time.Now()
	a.waiting.Add(1)
	answer, err := a.ask(ctx, q, began)
	a.waiting.Add(-1)
	if errors.Is(err, context.Canceled) {
		return answer, err // the caller gave up; that says nothing
	}
	a.metrics.asked(answer, err, time.Since(began))
	return answer, err
}

func (a *Asker) ask(ctx context.Context, q Question, now time.Time) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("not asked: %w", err)
	}
	// Encoded here and now: the session may change q.Identity's role later.
	e, err := a.enqueue(&entry{
		text: encode(q), shared: q.Session != "", person: q.Action != session.ActionRenew,
		asked: now, span: trace.SpanFromContext(ctx), waiters: 1, done: make(chan struct{}),
	})
	if err != nil {
		return Answer{}, err
	}
	patience := time.NewTimer(a.config.Patience)
	defer patience.Stop()
	select {
	case <-e.done:
		return e.answer, e.err
	case <-ctx.Done():
		err = fmt.Errorf("no answer in time: %w", ctx.Err())
	case <-patience.C:
		err = errSlow
	}
	a.leave(e)
	return Answer{}, err
}

// enqueue gives e a place in the queue, or returns the entry there that asks
// the same.
func (a *Asker) enqueue(e *entry) (*entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil, errStopped
	}
	if ok, _ := a.circuit.Allows(e.asked); !ok {
		return nil, a.down
	}
	if other := a.queue.shared[e.text]; other != nil && e.shared {
		other.waiters++
		return other, nil
	}
	switch n := a.queue.len(); {
	case n >= batchSize && a.circuit.Open():
		return nil, a.down // the probe is full
	case n >= a.config.QueueSize:
		return nil, errFull
	case n == 0, n == batchSize-1:
		signal(a.wake) // there is a time to wait for, or no need to wait any more
	}
	a.queue.push(e)
	return e, nil
}

// leave takes one who waits away from e. The last of them takes it out of the
// queue; what was sent goes on.
func (a *Asker) leave(e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.waiters--; e.waiters == 0 {
		a.queue.remove(e)
	}
}

// signal wakes whoever waits for c, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run asks until ctx is done. What waits then fails at once, and requests under
// way are cut off. It returns nil, when its goroutines are gone. Call it once.
func (a *Asker) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		next := a.next(now)
		if len(next.batch) > 0 {
			a.requests.Go(func() { a.request(ctx, next.batch, next.ticket) })
			continue
		}
		if next.at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.at.Sub(now))
		}
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
		}
	}
	for _, e := range a.stop() {
		e.settle(Answer{}, errStopped)
	}
	a.requests.Wait()
	a.endpoint.Close()
	return nil
}

// stop takes no more questions and returns those that wait.
func (a *Asker) stop() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	return a.queue.takeAll()
}

// step is what Run does next: make a request for batch; or wait until at,
// without end if it is zero.
type step struct {
	batch  []*entry
	ticket webhook.Ticket
	at     time.Time
}

// next decides what to do.
func (a *Asker) next(now time.Time) step {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.queue.len() == 0 || a.running >= a.config.Concurrency {
		return step{}
	}
	if ok, at := a.circuit.Allows(now); !ok {
		return step{at: at}
	}
	ready := a.queue.oldest().Add(gatherFor)
	if a.queue.len() < batchSize && ready.After(now) {
		return step{at: ready}
	}
	if a.slot.IsZero() {
		a.slot = now.Add(a.limiter.ReserveN(now, 1).DelayFrom(now))
	}
	if a.slot.After(now) {
		return step{at: a.slot}
	}
	a.slot = time.Time{}
	a.running++
	return step{batch: a.queue.take(), ticket: a.circuit.Begin()}
}
