package hook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"refresher/internal/logging"
	"refresher/internal/session"
)

const (
	maxPending      = 100_000          // largest number of waiting requests; each takes about 0.5 KiB
	ApprovalAhead   = 15 * time.Second // approval is requested this long before a renewal; longer than `patience`, so that the answer arrives before the renewal
	patience        = 8 * time.Second  // longest time that Request waits, in the queue and for the answer
	batchRate       = 50               // average number of batches a second; the burst is the number of concurrent batches
	approvalTrip    = 5                // consecutive failures that open the circuit; few, since clients wait for the answers
	maxApprovalWait = 30 * time.Second // the longest wait between two probes of a failing endpoint
	maxAnswer       = 1 << 20
)

// Approval requests approvals of sessions from the back end. Request is safe for concurrent use.
//
// Requests that arrive within 5 ms are sent in one batch of at most 100. Joins and resumes go before
// renewals, but a quarter of each batch is kept for waiting renewals: otherwise a constant stream of joins
// would delay the renewals until the old tokens expire. While the circuit is open, requests fail at once, including
// the requests in the queue. After the circuit's wait, the next request is sent as a probe.
type Approval struct {
	*client[batch]

	maxPending int
	patience   time.Duration
	metrics    *approvalMetrics
	logger     *slog.Logger  // adds the endpoint's address to each line
	prefix     string        // prefix of all request ids; random, so that two nodes never send the same id
	ids        atomic.Uint64 // number of the last request; numbers are never reused, so a late answer cannot match a newer request
	waiting    atomic.Int64  // number of calls of Request in progress
	lines      struct{ failures, openings, closings, mistakes logging.Throttle }

	queue   approvalQueue // guarded by client.mu
	down    error         // guarded by client.mu; the error that Request returns while the circuit is open
	limiter *rate.Limiter // guarded by client.mu; limits the rate of batches
	slot    time.Time     // guarded by client.mu; when the next batch may start, as reserved from `limiter`; zero if nothing is reserved
}

var (
	errFull    = errors.New("too many approval requests wait already")
	errSlow    = errors.New("the request waited too long, or was not answered in time")
	errStopped = errors.New("the node is stopping")
)

// NewApproval returns an Approval for c.URL, or nil if c.URL is empty. It sends no request before Run is
// called.
func NewApproval(c Config) (*Approval, error) {
	if c.Timeout < 0 {
		return nil, errors.New("authorize-timeout: want 0 (the default) or more")
	}
	if c.URL == "" {
		return nil, c.unset("authorize", "where to send requests")
	}
	endpoint, err := newEndpoint("authorize", &c, limits{atOnce: 8, timeout: 2 * time.Second, wait: maxApprovalWait, answer: maxAnswer})
	if err != nil {
		return nil, err
	}
	a := &Approval{
		maxPending: maxPending, patience: patience, logger: c.Logger.With("endpoint", endpoint.origin()),
		prefix: rand.Text()[:10] + "-", queue: newApprovalQueue(), limiter: rate.NewLimiter(batchRate, endpoint.limits.atOnce),
	}
	a.client = newClient(a, endpoint, approvalTrip)
	a.metrics = newApprovalMetrics(c.Registerer, a.waiting.Load, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.circuit.open
	})
	if endpoint.exposed() {
		a.logger.Warn("approval requests are not encrypted: others on the network can read and answer them; use https")
	}
	return a, nil
}

// Request asks the back end whether q.Session may do q.Action, and waits for the answer until ctx is done,
// but at most 8 s. An error means that no answer arrived; it never means a denial. Errors contain no secret.
// Request may be called before Run.
//
// If an equal request of the same session waits in the queue, both calls share it. A request that was already
// sent is not shared: the back end may have decided it before q was made.
func (a *Approval) Request(ctx context.Context, q Request) (answer Answer, err error) {
	began := time.Now()
	a.waiting.Add(1)
	defer func() {
		a.waiting.Add(-1)
		if !errors.Is(err, context.Canceled) { // a cancelled call is not counted: it says nothing about the endpoint
			a.metrics.asked(answer, err, time.Since(began))
		}
	}()
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("not asked: %w", err)
	}
	// Encode q now: if the caller stops waiting, the session may change the role in q.Identity while q is still queued.
	p, err := a.enqueue(&pendingApproval{
		text: encodeRequest(&q), shared: q.Session != "", person: q.Action != session.ActionRenew,
		asked: began, span: trace.SpanFromContext(ctx), waiters: 1, done: make(chan struct{}),
	})
	if err != nil {
		return Answer{}, err
	}
	patience := time.NewTimer(a.patience)
	defer patience.Stop()
	select {
	case <-p.done:
		return p.Answer, p.err
	case <-ctx.Done():
		err = fmt.Errorf("no answer in time: %w", ctx.Err())
	case <-patience.C:
		err = errSlow
	}
	a.leave(p)
	return Answer{}, err
}

// enqueue adds p to the queue. If an equal request waits in the queue already, enqueue returns that request instead of
// p.
func (a *Approval) enqueue(p *pendingApproval) (*pendingApproval, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return nil, errStopped
	}
	t, _ := a.circuit.turn(p.asked)
	if t == hold {
		return nil, a.down
	}
	if other := a.queue.shared[p.text]; other != nil && p.shared {
		other.waiters++
		return other, nil
	}
	switch n := a.queue.len(); {
	case n >= batchSize && t == probe: // the circuit is open, so only the probe will be sent, and the probe's batch is full
		return nil, a.down
	case n >= a.maxPending:
		return nil, errFull
	case n == 0, n == batchSize-1:
		signal(a.wake) // Run waits 5 ms from the first request on, but sends a full batch at once
	}
	a.queue.push(p)
	return p, nil
}

// leave records that one caller of Request no longer waits for the pending request p. When the last caller leaves, p is
// removed from the queue unless it was already sent.
func (a *Approval) leave(p *pendingApproval) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.waiters--; p.waiters == 0 {
		a.queue.remove(p)
	}
}

// Run sends batches until ctx is done. Then it cancels the batches in progress, and all calls of Request
// fail. Run must be called only once.
func (a *Approval) Run(ctx context.Context) {
	a.run(ctx, 0)
	a.mu.Lock()
	a.stopped = true
	left := a.queue.takeAll()
	a.mu.Unlock()
	settle(left, errStopped)
}

// next is the method of the interface `discipline` that chooses the next HTTP request. It returns a batch as soon as
// 100 requests wait, or 5 ms after the first of them arrived, but no more often than batchRate allows.
func (a *Approval) next(now time.Time, t turn) (*batch, time.Time) {
	if t == hold || a.queue.len() == 0 {
		return nil, time.Time{}
	}
	if gathered := a.queue.oldest().Add(gatherFor); a.queue.len() < batchSize && gathered.After(now) {
		return nil, gathered
	}
	if a.slot.IsZero() {
		a.slot = now.Add(a.limiter.ReserveN(now, 1).DelayFrom(now))
	}
	if a.slot.After(now) {
		return nil, a.slot
	}
	a.slot = time.Time{}
	return &batch{approvals: a.queue.take()}, time.Time{}
}

func (a *Approval) send(ctx context.Context, b *batch) (outcome, bool) {
	for _, q := range b.approvals {
		q.id = a.prefix + strconv.FormatUint(a.ids.Add(1), 10)
	}
	answer := a.endpoint.post(b.inTrace(ctx), b.approvals[0].id, b.encode())
	b.result, b.err = b.decide(&answer)
	if b.err != nil && ctx.Err() != nil {
		settle(b.approvals, errStopped)
		return outcome{}, false
	}
	a.metrics.requests.WithLabelValues(string(b.result)).Inc()
	return outcome{ok: b.err == nil, retryAfter: answer.retryAfter, limit: maxApprovalWait}, true
}

// done is the method of the interface `discipline` that records a sent batch. If the circuit is open after the batch,
// done makes all waiting requests fail.
func (a *Approval) done(b *batch, o *outcome) func() {
	var flushed []*pendingApproval
	if t, _ := a.circuit.turn(o.at); !o.ok && t == hold {
		a.down = fmt.Errorf("request suspended, since the back end is failing: %w", b.err)
		flushed = a.queue.takeAll()
	}
	down := a.down
	return func() {
		settle(flushed, down)
		a.log(b, o)
		settle(b.approvals, b.err)
	}
}

// log logs failures of the endpoint, its recovery, and unreadable decisions. Callers of Request log the answers that they get.
func (a *Approval) log(b *batch, o *outcome) {
	if !o.ok && !o.opened {
		if unlogged, ok := a.lines.failures.Pass(logEvery); ok {
			a.logger.Warn("an approval request failed", "error", b.err, "unlogged", unlogged)
		}
	}
	if o.opened {
		if unlogged, ok := a.lines.openings.Pass(logEvery); ok {
			a.logger.Warn("the back end is failing; approval requests are suspended", "error", b.err, "unlogged", unlogged)
		}
	}
	if o.closed {
		if unlogged, ok := a.lines.closings.Pass(logEvery); ok {
			a.logger.Info("the back end answers again", "after_seconds", o.at.Sub(o.since).Seconds(), "unlogged", unlogged)
		}
	}
	if o.ok && b.unread != nil && !errors.Is(b.unread, errMissing) {
		if unlogged, ok := a.lines.mistakes.Pass(logEvery); ok {
			a.logger.Warn("a malformed decision counts as no answer", "error", b.unread, "unlogged", unlogged)
		}
	}
}
