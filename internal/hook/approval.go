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
	maxQuestions    = 100_000          // that wait, of about 0.5 KiB each
	ApprovalAhead   = 15 * time.Second // before a renewal its approval is requested: longer than an Ask takes
	patience        = 8 * time.Second  // of an Ask as a whole, its wait for a turn included
	requestRate     = 50               // a second, on average; as many at once as may be under way
	approvalTrip    = 5                // soon: somebody waits for each answer
	maxApprovalWait = 30 * time.Second // after a failure
	maxAnswer       = 1 << 20          // bytes
)

// Approval asks the customer's back end whether sessions may go on. Ask is safe for
// concurrent use.
//
// Questions that come within 5 ms travel in one request, of up to 100. Joins and resumes go
// first, but a quarter of each request is kept for renewals, if they wait: joins that never
// cease would hold them up until the old tokens run out. While the circuit is open, what
// waits and what is asked fails at once; without a question there is no probe.
type Approval struct {
	*client[batch]

	maxQuestions int
	patience     time.Duration
	metrics      *approvalMetrics
	logger       *slog.Logger  // names the endpoint
	prefix       string        // of ids; no other Approval has it
	ids          atomic.Uint64 // given so far: never twice, so that an old answer decides nothing
	waiting      atomic.Int64  // calls of Ask
	lines        struct{ failures, openings, closings, mistakes logging.Throttle }

	queue   questionQueue // guarded by client.mu
	down    error         // guarded by client.mu; what Ask says while the circuit is open
	limiter *rate.Limiter // guarded by client.mu, with slot
	slot    time.Time     // guarded by client.mu; when the next request may begin, zero if not known yet
}

var (
	errFull    = errors.New("too many questions wait already")
	errSlow    = errors.New("no turn or no answer in time")
	errStopped = errors.New("the node is stopping")
)

// NewApproval makes an Approval, or nil without a URL. Nothing is asked until Run is called.
func NewApproval(c Config) (*Approval, error) {
	if c.Timeout < 0 {
		return nil, errors.New("authorize-timeout: want 0 (the default) or more")
	}
	if c.URL == "" {
		return nil, c.unset("authorize", "whom to ask")
	}
	endpoint, err := newEndpoint("authorize", &c, limits{atOnce: 8, timeout: 2 * time.Second, wait: maxApprovalWait, answer: maxAnswer})
	if err != nil {
		return nil, err
	}
	a := &Approval{
		maxQuestions: maxQuestions, patience: patience, logger: c.Logger.With("endpoint", endpoint.origin()),
		prefix: rand.Text()[:10] + "-", queue: newQuestionQueue(), limiter: rate.NewLimiter(requestRate, endpoint.limits.atOnce),
	}
	a.client = newClient(a, endpoint, approvalTrip)
	a.metrics = newApprovalMetrics(c.Registerer, a.waiting.Load, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.circuit.open
	})
	if endpoint.exposed() {
		a.logger.Warn("questions travel in the clear: anybody on the way can read them, and answer them; use https")
	}
	return a, nil
}

// Ask asks q and waits for the answer, until ctx is done or 8 s are over. It may be called
// before Run too. An error says that there is no answer, from whatever cause, and never
// means a denial; it repeats no secret.
//
// Asks for the same thing about the same session share one question until it is sent. Then
// they do not: the back end's answer could be older than the question.
func (a *Approval) Ask(ctx context.Context, q Question) (answer Answer, err error) {
	began := time.Now()
	a.waiting.Add(1)
	defer func() {
		a.waiting.Add(-1)
		if !errors.Is(err, context.Canceled) { // the caller gave up: that says nothing
			a.metrics.asked(answer, err, time.Since(began))
		}
	}()
	if err := ctx.Err(); err != nil {
		return Answer{}, fmt.Errorf("not asked: %w", err)
	}
	// Encoded here and now: the session may change q.Identity's role later.
	p, err := a.enqueue(&pendingQuestion{
		text: encodeQuestion(&q), shared: q.Session != "", person: q.Action != session.ActionRenew,
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

// enqueue gives p a place in the queue, or returns the question there that asks the same.
func (a *Approval) enqueue(p *pendingQuestion) (*pendingQuestion, error) {
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
	case n >= batchSize && t == probe: // the probe is full
		return nil, a.down
	case n >= a.maxQuestions:
		return nil, errFull
	case n == 0, n == batchSize-1:
		signal(a.wake) // there is a time to wait for, or no need to wait any more
	}
	a.queue.push(p)
	return p, nil
}

// leave takes one who waits away from p. The last of them takes it out of the queue; what
// was sent goes on.
func (a *Approval) leave(p *pendingQuestion) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.waiters--; p.waiters == 0 {
		a.queue.remove(p)
	}
}

// Run asks until ctx is done. Requests under way are cut off then, and what waits fails.
// Call it once.
func (a *Approval) Run(ctx context.Context) {
	a.run(ctx, 0)
	a.mu.Lock()
	a.stopped = true
	left := a.queue.takeAll()
	a.mu.Unlock()
	settle(left, errStopped)
}

// next implements discipline: a request begins 5 ms after its first question, or when 100
// wait, as fast as the rate allows.
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
	return &batch{questions: a.queue.take()}, time.Time{}
}

// send implements discipline.
func (a *Approval) send(ctx context.Context, b *batch) (outcome, bool) {
	for _, q := range b.questions {
		q.id = a.prefix + strconv.FormatUint(a.ids.Add(1), 10)
	}
	answer := a.endpoint.post(b.inTrace(ctx), b.questions[0].id, b.encode())
	b.result, b.err = b.decide(&answer)
	if b.err != nil && ctx.Err() != nil {
		settle(b.questions, errStopped)
		return outcome{}, false
	}
	a.metrics.requests.WithLabelValues(string(b.result)).Inc()
	return outcome{ok: b.err == nil, retryAfter: answer.retryAfter, limit: maxApprovalWait}, true
}

// done implements discipline. If the endpoint is failing, the questions that wait get an error.
func (a *Approval) done(b *batch, o *outcome) func() {
	var flushed []*pendingQuestion
	if t, _ := a.circuit.turn(o.at); !o.ok && t == hold {
		a.down = fmt.Errorf("not asked, since the endpoint is failing: %w", b.err)
		flushed = a.queue.takeAll()
	}
	down := a.down
	return func() {
		settle(flushed, down)
		a.log(b, o)
		settle(b.questions, b.err)
	}
}

// log writes the lines about the endpoint; what came of a question is its caller's to log.
func (a *Approval) log(b *batch, o *outcome) {
	if !o.ok && !o.opened {
		if unlogged, ok := a.lines.failures.Pass(logEvery); ok {
			a.logger.Warn("a request to the endpoint failed", "error", b.err, "unlogged", unlogged)
		}
	}
	if o.opened {
		if unlogged, ok := a.lines.openings.Pass(logEvery); ok {
			a.logger.Warn("the endpoint is failing, nothing is asked", "error", b.err, "unlogged", unlogged)
		}
	}
	if o.closed {
		if unlogged, ok := a.lines.closings.Pass(logEvery); ok {
			a.logger.Info("the endpoint answers again", "after_seconds", o.at.Sub(o.since).Seconds(), "unlogged", unlogged)
		}
	}
	if o.ok && b.unread != nil && !errors.Is(b.unread, errMissing) {
		if unlogged, ok := a.lines.mistakes.Pass(logEvery); ok {
			a.logger.Warn("a decision cannot be read and counts as no answer", "error", b.unread, "unlogged", unlogged)
		}
	}
}
