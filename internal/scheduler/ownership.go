package scheduler

import (
	"log/slog"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// adopt takes over a session whose owner is gone.
func (s *Scheduler) adopt(r *store.Record) {
	defer s.config.Panics.Recover(panics.Session, nil, "session", r.Session)
	if here := s.lookUp(r.Session); here != nil {
		s.compare(here, r)
		return
	}
	if !s.config.Serves(r.App) {
		return
	}
	e := s.restore(r, s.clock.now())
	e.adopted = true
	e.mu.Lock() // free: nobody else has it
	defer e.unlock()
	if !s.insertNew(e, nil) {
		return // its client came here meanwhile
	}
	defer s.contain(e, nil)
	s.metrics.adopted.Inc()
	s.log(e, slog.LevelInfo, "session adopted, its node is gone", "epoch", r.Epoch)
	if key := e.session.Key(); e.session.State() != session.Ended && s.config.Revocations.Revoked(&key) {
		s.end(e, session.EndRevoked)
	}
	s.commit(e)
}

// compare looks into a session that the store has as overdue and as this node's,
// which it is: if one of the two is not up to date, because the notice of an operator's
// wish was lost, say, the store is told again, and its answer tells the rest.
func (s *Scheduler) compare(e *entry, r *store.Record) {
	s.do(e, func() {
		wished := r.WishVersion > e.wish || r.HasEnded() && e.session.State() != session.Ended
		if wished || e.session.Epoch() != r.Epoch || e.rev != r.Version {
			e.session.Fence(r.Epoch)
			e.written = written{}
			s.commit(e)
		}
	})
}

// restore makes an entry from a record.
func (s *Scheduler) restore(r *store.Record, now session.Instant) *entry {
	if r.State != session.Ended { // by a node that had nobody to tell, perhaps
		r.Delivered &^= store.DeliveredEnd
	}
	e := newEntry(session.Restore(r.Record, &s.config.Policy, now))
	e.reason, e.delivered = r.Reason, r.Delivered
	e.rev, e.wish = r.Version, r.WishVersion // what this node writes comes after it
	return e
}

// lose lets go of a session that another node has, or that was ended elsewhere.
// e.mu is held.
func (s *Scheduler) lose(l letter, o store.Outcome) {
	e := l.entry
	if e.session.Epoch() != l.record.Epoch || e.lost {
		return // it came back here since
	}
	if e.session.State() == session.Ended {
		s.forgetEnding(e)
		return
	}
	s.metrics.lost.Inc()
	s.log(e, slog.LevelInfo, "session lost to another node", "epoch", l.record.Epoch)
	if client := e.client; client != nil {
		switch o.Action {
		case store.CloseSuperseded:
			client.End(e.session.Ending(session.EndSuperseded))
		case store.EndSession:
			client.End(o.Ending)
		default:
			client.Lost() // if it is there, it comes again, with a key that decides
		}
	}
	s.discard(e)
	s.commit(e)
}

// behind has a session written under an epoch that the store gave this node, in
// an answer that never came.
func (s *Scheduler) behind(e *entry, epoch uint64) {
	s.mu.Lock()
	current := s.entries[e.id] == e || s.ended[e.id] == e && s.entries[e.id] == nil
	s.mu.Unlock()
	s.do(e, func() {
		switch {
		case e.lost || e.session.Epoch() >= epoch: // it knows by now
		case current:
			e.session.Fence(epoch)
			e.written = written{}
			s.commit(e)
		default:
			s.forgetEnding(e) // there is a newer one of it
		}
	})
}
