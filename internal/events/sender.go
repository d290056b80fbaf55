package events

import (
	"context"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/webhook"
)

// lastChance is how long Run goes on, after its context is done, to deliver
// what waits.
const lastChance = 5 * time.Second

// Sender delivers events. Send is safe for concurrent use.
type Sender struct {
	config   Config
	endpoint *webhook.Endpoint
	metrics  *metrics
	log      logs
	wake     chan struct{}  // tells Run that something has changed
	dropped  chan struct{}  // tells report that there are drops
	running  sync.WaitGroup // attempts

	mu      sync.Mutex
	queue   queue           // guarded by mu
	circuit webhook.Circuit // guarded by mu
	drops   []drop          // guarded by mu; not reported yet
	last    time.Time       // guarded by mu; when Run ends at the latest, once it is asked to
	stopped bool            // guarded by mu; Run has returned, or is about to
}

// New makes a Sender. Nothing is delivered until Run is called.
func New(c Config) (*Sender, error) {
	endpoint, err := c.complete()
	if err != nil {
		return nil, err
	}
	s := &Sender{
		config:   c,
		endpoint: endpoint,
		log:      logs{logger: c.Logger.With("endpoint", endpoint.Location())},
		wake:     make(chan struct{}, 1),
		dropped:  make(chan struct{}, 1),
		queue:    newQueue(),
		circuit:  webhook.Circuit{Trip: tripAfter},
	}
	s.config.Secret, s.config.PreviousSecret, s.config.URL = "", "", "" // where nothing can print them
	s.metrics = newMetrics(c.Registerer, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(s.queue.len())
	})
	if endpoint.Exposed() {
		s.log.logger.Warn("events travel in the clear: anybody on the way can read them; use https")
	}
	return s, nil
}

// Send queues e and returns at once; it may be called before Run too. Once e is
// delivered or given up for good, settled is called with which of the two,
// exactly once and from another goroutine; it may call Send. Calls for
// different events may overlap. A settled that takes long holds up deliveries.
// What Run leaves behind, and what is sent after it has returned, is not
// settled at all. settled may be nil.
func (s *Sender) Send(e session.Event, settled func(delivered bool)) {
	// Encoded here and now: the session may change e.Identity's role later.
	text := encode(e)
	if settled == nil {
		settled = func(bool) {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.queue.push(&entry{id: e.ID, session: e.Session, kind: e.Type, body: text, settled: settled, sent: time.Now()})
	if s.queue.len() > s.config.QueueSize {
		if oldest := s.queue.oldest(); oldest != nil {
			s.drop(oldest, queueFull)
		}
	}
	signal(s.wake)
}

// signal wakes whoever waits for c, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run delivers events until ctx is done, and then gives what waits one more
// attempt, for 5 s at most. It returns nil, when its goroutines are gone; a
// settled that blocks keeps it. Call it once.
func (s *Sender) Run(ctx context.Context) error {
	attempts, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() { s.report(stop) })
	s.deliver(ctx, attempts)
	cut()
	s.running.Wait()
	left := s.stop()
	close(stop)
	reporting.Wait()
	s.endpoint.Close()
	if left > 0 {
		s.log.logger.Warn("stopped with events undelivered; another node tells them again, if there is one", "events", left)
	}
	return nil
}

// deliver starts attempts, under the context of that name, until Run is over.
func (s *Sender) deliver(ctx, attempts context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for {
		if done != nil && ctx.Err() != nil {
			done = nil
			s.hasten(time.Now())
		}
		now := time.Now()
		next := s.next(now)
		if next.over {
			return
		}
		if next.entry != nil {
			s.running.Go(func() { s.attempt(attempts, next.entry, next.ticket) })
			continue
		}
		if next.at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.at.Sub(now))
		}
		select {
		case <-timer.C:
		case <-s.wake:
		case <-done:
		}
	}
}

// step is what deliver does next: make an attempt; or wait until at, without
// end if it is zero; or stop.
type step struct {
	entry  *entry
	ticket webhook.Ticket
	at     time.Time
	over   bool
}

// next gives up what is too old and decides what to do.
func (s *Sender) next(now time.Time) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := !s.last.IsZero()
	if last && !now.Before(s.last) {
		return step{over: true}
	}
	at := s.last
	for e := s.queue.oldest(); e != nil; e = s.queue.oldest() {
		if expires := e.sent.Add(s.config.MaxAge); expires.After(now) {
			at = sooner(at, expires)
			break
		}
		s.drop(e, tooOld)
	}
	if s.queue.busy >= s.config.Concurrency {
		return step{at: at}
	}
	allowed, wait := s.circuit.Allows(now)
	if allowed {
		if e := s.queue.take(now, s.circuit.Open()); e != nil {
			return step{entry: e, ticket: s.circuit.Begin()}
		}
	}
	if last && s.queue.busy == 0 {
		return step{over: true}
	}
	if ready := s.queue.next(); !ready.IsZero() && (allowed || !wait.IsZero()) {
		if wait.After(ready) {
			ready = wait
		}
		at = sooner(at, ready)
	}
	return step{at: at}
}

// sooner is the sooner of two times, of which the zero one never comes.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// hasten begins the last attempts.
func (s *Sender) hasten(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = now.Add(lastChance)
	s.queue.hasten()
	s.circuit.Hasten()
}

// stop takes no more events, forgets those that are left, and tells how many.
func (s *Sender) stop() (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left = s.queue.len()
	s.stopped, s.queue = true, newQueue()
	return left
}
