package scheduler

import (
	"refresher/internal/session"
	"refresher/internal/store"
)

// Announcement is something that happened to a session, for the customer's back
// end. It is made once by each node that keeps the session, until one of them
// has had it delivered: at least once in all.
type Announcement struct {
	What   store.Delivered // one of them
	Record session.Record
	Node   string
}

// announce tells the customer's back end what it does not know of a session. A
// session that is over stays in the store until that is done, so that another
// node does it if this one dies. e.mu is held.
func (s *Scheduler) announce(e *entry) {
	if !e.session.Issued() {
		return
	}
	r := e.session.Record(e.reason, s.clock.now())
	if !r.Missed { // a new bundle: what was told of the one before is past
		e.delivered &^= store.DeliveredUnreachable
		e.announced &^= store.DeliveredUnreachable
	}
	want := store.DeliveredJoined
	if r.Missed {
		want |= store.DeliveredUnreachable
	}
	if r.State == session.Ended {
		want |= store.DeliveredEnd
	}
	if s.config.Announce == nil {
		e.delivered |= want // there is nobody to tell
		return
	}
	for _, what := range []store.Delivered{store.DeliveredJoined, store.DeliveredUnreachable, store.DeliveredEnd} {
		if want.Has(what) && !e.delivered.Has(what) && !e.announced.Has(what) {
			e.announced |= what
			s.config.Announce(Announcement{what, r, s.config.Node}, func(bool) {
				s.do(e, func() { s.settleEvent(e, what, r.Seq) })
			})
		}
	}
}

// settleEvent notes that an event was delivered, or given up for good. e.mu is held.
func (s *Scheduler) settleEvent(e *entry, what store.Delivered, seq uint64) {
	if what == store.DeliveredUnreachable && e.session.Record(e.reason, s.clock.now()).Seq != seq {
		return // of a bundle that is past
	}
	e.delivered |= what
	s.commit(e)
}
