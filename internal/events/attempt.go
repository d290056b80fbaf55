package events

import (
	"context"
	"net/http"
	"time"

	"refresher/internal/webhook"
)

// attempt tries to deliver e.
func (s *Sender) attempt(ctx context.Context, e *entry, t webhook.Ticket) {
	within, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	a := s.post(within, e)
	if a.err != nil && ctx.Err() != nil {
		return // cut off by the end of Run; that says nothing
	}
	now := time.Now()
	s.metrics.attempted(a)
	switch {
	case a.delivered():
		s.metrics.delivered(e.kind, now.Sub(e.sent))
		e.settled(true)
	case a.status == http.StatusGone:
		s.giveUp(e, gone)
	default:
		s.again(e, t, a, now)
		return
	}
	s.mu.Lock()
	s.queue.remove(e)
	closed := s.circuit.Succeeded(t)
	since, queued := s.circuit.Since(), s.queue.len()
	s.mu.Unlock()
	signal(s.wake)
	if closed {
		s.log.recovered(now.Sub(since), queued)
	}
}

// again puts e back after an attempt that failed.
func (s *Sender) again(e *entry, t webhook.Ticket, a answer, now time.Time) {
	s.mu.Lock()
	e.failures++
	s.queue.retry(e, now.Add(webhook.Backoff(e.failures, maxWait)))
	opened := s.circuit.Failed(t, now, a.retryAfter, a.wait())
	failures, queued := e.failures, s.queue.len()
	s.mu.Unlock()
	signal(s.wake)
	s.log.failed(e, a, failures, queued)
	if opened {
		s.log.failing(queued)
	}
}
