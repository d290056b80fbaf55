package scheduler

import "refresher/internal/session"

// attachment implements session.Attachment for one connection. After the client has reconnected,
// the methods of the old connection's attachment do nothing.
type attachment struct {
	entry *entry
	epoch uint64
}

// with locks the session, calls f, and then calls commit. It does nothing if the client has opened
// a newer connection.
func (a *attachment) with(f func(e *entry, now session.Instant) error) (err error) {
	e := a.entry
	e.Lock()
	defer e.Unlock()
	defer e.contain(&err)
	if e.session.State() != session.Attached || e.session.AttachedEpoch() != a.epoch {
		return nil
	}
	defer e.commit()
	return f(e, e.engine.clock.now())
}

func (a *attachment) Ack(seq uint64) error {
	return a.with(func(e *entry, now session.Instant) error {
		acked, err := e.session.Ack(seq, now)
		if acked.Settled {
			e.emit(event{kind: evAcked, seq: seq, acked: acked})
		}
		return err
	})
}

func (a *attachment) Nack(seq uint64, code, message string) error {
	return a.with(func(e *entry, now session.Instant) error {
		news, err := e.session.Nack(seq, now)
		if news {
			e.emit(event{kind: evNacked, seq: seq, code: code, message: message, now: now})
		}
		return err
	})
}

func (a *attachment) Renew() {
	_ = a.with(func(e *entry, now session.Instant) error {
		switch task := e.session.RenewRequested(now); task {
		case session.Repeat:
			e.push(e.session.Again(now))
		case session.Renew:
			e.renewSoon(session.CauseRenew, now)
		default: // nothing to do: a renewal is due anyway, or tokens were sent just now
		}
		return nil
	})
}

func (a *attachment) Leave() {
	_ = a.with(func(e *entry, _ session.Instant) error {
		e.end(session.EndLeft)
		return nil
	})
}

func (a *attachment) Detach() {
	_ = a.with(func(e *entry, now session.Instant) error {
		e.detach(a.epoch, now)
		return nil
	})
}
