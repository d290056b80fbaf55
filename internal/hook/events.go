package hook

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"refresher/internal/logging"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

const (
	maxEvents    = 100_000          // largest number of waiting events; each takes about 0.7 KiB
	maxEventAge  = 24 * time.Hour   // an event older than this is dropped
	lastChance   = 5 * time.Second  // after Run's context is done, the queued events get this long to be delivered
	eventsTrip   = 8                // consecutive failures that open the circuit; more than approvalTrip, since a receiver may refuse single events
	maxEventWait = 5 * time.Minute  // the longest wait after a failure
	refusedWait  = 10 * time.Second // the longest wait after the endpoint refused an event; the endpoint may accept the next event
)

// Events delivers session events to the back end. Send is safe for concurrent use.
type Events struct {
	*client[attempt]

	maxEvents int
	maxAge    time.Duration
	metrics   *eventMetrics
	logger    *slog.Logger // adds the endpoint's address to each line
	lines     struct{ drops, failures, openings, closings logging.Throttle }
	dropping  sync.WaitGroup // counts the calls of `settled` in progress for dropped events

	queue eventQueue // guarded by client.mu
}

// attempt is one request to deliver an event.
type attempt struct {
	event  *pendingEvent
	answer answer
}

// NewEvents returns an Events for c.URL, or nil if c.URL is empty. It delivers nothing before Run is called.
func NewEvents(c Config) (*Events, error) {
	if c.URL == "" {
		return nil, c.unset("events", "where to send events")
	}
	endpoint, err := newEndpoint("events", &c, limits{atOnce: 4, timeout: 10 * time.Second, wait: maxEventWait, answer: 16 << 10})
	if err != nil {
		return nil, err
	}
	s := &Events{
		maxEvents: maxEvents, maxAge: maxEventAge, logger: c.Logger.With("endpoint", endpoint.location()), queue: newEventQueue(),
	}
	s.client = newClient(s, endpoint, eventsTrip)
	s.metrics = newEventMetrics(c.Registerer, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(s.queue.len())
	})
	if endpoint.exposed() {
		s.logger.Warn("events are not encrypted: others on the network can read them; use https")
	}
	return s, nil
}

func encodeEvent(e *session.Event) []byte {
	text, err := json.Marshal(struct {
		ID      string            `json:"id"`
		Type    session.EventType `json:"type"`
		At      session.UnixMilli `json:"at"`
		App     string            `json:"app"`
		Session string            `json:"session"`
		Subject string            `json:"subject,omitempty"`
		Node    string            `json:"node,omitempty"`
		protocol.Identity
		Seq       uint64            `json:"seq,omitempty"`
		ExpiresAt session.UnixSec   `json:"expiresAt,omitempty"`
		Reason    session.EndReason `json:"reason,omitempty"`
	}{e.ID, e.Type, e.At, e.App, e.Session, e.Subject, e.Node, protocol.IdentityOf(e.Identity), e.Seq, e.ExpiresAt, e.Reason})
	if err != nil {
		panic(err) // impossible: strings and numbers can always be encoded
	}
	return text
}

// Send queues e and returns at once. If more than 100,000 events wait, it drops the oldest, which is the most
// likely to be stale. Events calls the function `settled` once, in another goroutine, when e was delivered or dropped;
// `settled` may call Send. It is not called for events that are still queued when Run ends, or that are passed to Send
// later.
func (s *Events) Send(e session.Event, settled func(delivered bool)) {
	// Encode e now: the session may change the role in e.Identity after Send returns.
	p := &pendingEvent{id: e.ID, session: e.Session, kind: e.Type, body: encodeEvent(&e), settled: settled, sent: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.queue.push(p)
	if s.queue.len() > s.maxEvents {
		if oldest := s.queue.oldest(); oldest != nil {
			s.drop(oldest, "queue full")
		}
	}
	signal(s.wake)
}

// Run delivers events until ctx is done. Then it makes one more attempt for each queued event, until 5 s have passed or
// the circuit opens. It returns after all calls of `settled` have returned. Call Run once, and end it after the last
// call of Send.
func (s *Events) Run(ctx context.Context) {
	s.run(ctx, lastChance)
	s.mu.Lock()
	left := s.queue.len()
	s.stopped, s.queue = true, newEventQueue()
	s.mu.Unlock()
	s.dropping.Wait()
	if left > 0 {
		s.logger.Warn("stopped with undelivered events; another node sends them again, if there is one", "events", left)
	}
}

// next is the method of the interface `discipline` that chooses the next HTTP request. It drops the events that are too
// old, and takes the event to send.
func (s *Events) next(now time.Time, t turn) (*attempt, time.Time) {
	if !s.end.IsZero() {
		s.queue.hasten()
	}
	var at time.Time
	for e := s.queue.oldest(); e != nil; e = s.queue.oldest() {
		if expires := e.sent.Add(s.maxAge); expires.After(now) {
			at = expires
			break
		}
		s.drop(e, "too old")
	}
	if t == hold {
		return nil, at
	}
	e, due := s.queue.take(now, t == probe)
	if e == nil {
		return nil, sooner(at, due)
	}
	return &attempt{event: e}, time.Time{}
}

func (s *Events) send(ctx context.Context, a *attempt) (outcome, bool) {
	e := a.event
	a.answer = s.endpoint.post(ctx, e.id, e.body, "session", e.session)
	status := a.answer.status
	if status == 0 && ctx.Err() != nil {
		return outcome{}, false
	}
	result := refused
	switch {
	case status == 0:
		result = failed
	case status >= 200 && status <= 299:
		result = ok
	}
	s.metrics.attempts.WithLabelValues(string(result)).Inc()
	switch {
	case result == ok:
		s.metrics.events.WithLabelValues(string(e.kind), "delivered").Inc()
		s.metrics.delivery.Observe(time.Since(e.sent).Seconds())
		e.settled(true)
	case status == http.StatusGone:
		s.giveUp(e, "410 Gone")
	default:
		return outcome{retryAfter: a.answer.retryAfter, limit: waitAfter(status)}, true
	}
	return outcome{ok: true}, true
}

// waitAfter returns the longest wait before the next request to a failing endpoint. The parameter `status` is the
// status of the endpoint's last answer; 0 means that there was no answer. An endpoint that refused one event may accept
// another, so the wait after a refusal is shorter than after a timeout or a gateway error.
func waitAfter(status int) time.Duration {
	switch status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return maxEventWait
	default:
		return refusedWait
	}
}

func (s *Events) done(a *attempt, o *outcome) func() {
	e := a.event
	if o.ok {
		s.queue.remove(e)
	} else {
		e.failures++
		s.queue.retry(e, o.at.Add(backoff(e.failures, maxEventWait)))
	}
	failures, queued := e.failures, s.queue.len()
	return func() { s.log(a, o, failures, queued) }
}

func (s *Events) log(a *attempt, o *outcome, failures, queued int) {
	if !o.ok {
		if unlogged, ok := s.lines.failures.Pass(logEvery); ok {
			logger := s.logger.With("status", a.answer.status)
			if a.answer.status == 0 {
				logger = s.logger.With("error", a.answer.err)
			}
			logger.Warn("event not delivered, trying again", "type", string(a.event.kind), "session", a.event.session,
				"failures", failures, "queued", queued, "unlogged", unlogged)
		}
	}
	if o.opened {
		if unlogged, ok := s.lines.openings.Pass(logEvery); ok {
			s.logger.Warn("the back end is failing; events wait", "queued", queued, "unlogged", unlogged)
		}
	}
	if o.closed {
		if unlogged, ok := s.lines.closings.Pass(logEvery); ok {
			s.logger.Info("the back end answers again", "after_seconds", o.at.Sub(o.since).Seconds(), "queued", queued, "unlogged", unlogged)
		}
	}
}

// drop removes e from the queue, and calls e.settled in a new goroutine: the caller of Send may hold a mutex
// that e.settled locks.
func (s *Events) drop(e *pendingEvent, cause string) {
	s.queue.remove(e)
	s.dropping.Go(func() { s.giveUp(e, cause) })
}

// giveUp counts and logs a dropped event, and calls its function `settled`.
func (s *Events) giveUp(e *pendingEvent, cause string) {
	s.metrics.events.WithLabelValues(string(e.kind), "dropped").Inc()
	if unlogged, ok := s.lines.drops.Pass(logEvery); ok {
		s.logger.Warn("event dropped", "cause", cause, "type", string(e.kind), "session", e.session,
			"age_seconds", time.Since(e.sent).Seconds(), "unlogged", unlogged)
	}
	e.settled(false)
}
