package scheduler

import (
	"log/slog"

	"refresher/internal/session"
)

// attachment is a connection's hold on its session; it implements
// session.Attachment. Once a newer attachment has taken its place, all of its
// methods do nothing.
type attachment struct {
	scheduler *Scheduler
	entry     *entry
	epoch     uint64
}

// with calls f with the session locked, if this attachment still holds it, and
// commits what f did.
func (a *attachment) with(f func(e *entry, now session.Instant) error) (err error) {
	e := a.entry
	e.mu.Lock()
	defer e.unlock()
	defer a.scheduler.contain(e, &err)
	if e.session.State() != session.Attached || e.session.Attachment() != a.epoch {
		return nil
	}
	defer a.scheduler.commit(e)
	return f(e, a.scheduler.clock.now())
}

// Ack implements session.Attachment.
func (a *attachment) Ack(seq uint64) error {
	return a.with(func(e *entry, now session.Instant) error {
		acked, err := e.session.Ack(seq, now)
		if acked.Settled {
			a.scheduler.metrics.acked(acked, e.trail)
			e.trail.observe(a.scheduler.metrics.ack, acked.After.Seconds())
			e.trail.acked(acked.Margin)
			a.scheduler.log(e, slog.LevelDebug, "renewal acked", "seq", seq, "margin_seconds", acked.Margin.Seconds())
		}
		return err
	})
}

// Nack implements session.Attachment.
func (a *attachment) Nack(seq uint64, code, message string) error {
	return a.with(func(e *entry, now session.Instant) error {
		news, err := e.session.Nack(seq, now)
		if news {
			a.scheduler.metrics.renewals.nacked.Inc()
			e.trail.answered("nacked")
			if ok, more := e.refusals.allow(now.Mono); ok {
				a.scheduler.log(e, slog.LevelWarn, "client's SDK refused the tokens", "seq", seq, "sdk_code", code, "sdk_message", message, "more", more)
			}
		}
		return err
	})
}

// Renew implements session.Attachment.
func (a *attachment) Renew() {
	_ = a.with(func(e *entry, now session.Instant) error { // f returns nil
		switch task := e.session.Asked(now); task {
		case session.Repeat:
			a.scheduler.push(e, e.session.Again(now))
		case session.Renew:
			a.scheduler.want(e, session.CauseRenew, now)
		default: // tokens are on their way
		}
		return nil
	})
}

// Leave implements session.Attachment.
func (a *attachment) Leave() {
	_ = a.with(func(e *entry, _ session.Instant) error { // f returns nil
		a.scheduler.end(e, session.EndLeft)
		return nil
	})
}

// Detach implements session.Attachment.
func (a *attachment) Detach() {
	_ = a.with(func(e *entry, now session.Instant) error { // f returns nil
		a.scheduler.detach(e, a.epoch, now)
		return nil
	})
}
