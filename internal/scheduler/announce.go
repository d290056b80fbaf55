package scheduler

import (
	"strconv"

	"refresher/internal/session"
	"refresher/internal/store"
)

// newEvent returns the event for the customer's back end whose delivery counts as
// what. Its ID is the same on every node that may send it.
func newEvent(what store.Delivered, r *session.Record, node string, at session.UnixMilli) session.Event {
	e := session.Event{At: at, Session: r.Session, Node: node, Identity: r.Identity, Seq: r.Seq, ExpiresAt: r.ExpiresAt}
	switch {
	case what == store.DeliveredJoined:
		e.Type, e.ID = session.EventJoined, r.Session+"-joined"
	case what == store.DeliveredUnreachable:
		e.Type, e.ID = session.EventUnreachable, r.Session+"-unreachable-"+strconv.FormatUint(r.Seq, 10)
	case r.Reason == session.EndExpired:
		e.Type, e.ID = session.EventExpired, r.Session+"-expired-"+strconv.FormatUint(r.Seq, 10)
	default:
		e.Type, e.ID, e.Reason = session.EventEnded, r.Session+"-ended", r.Reason
	}
	return e
}

// announce tells the customer's back end what it does not know of a session. A
// session that is over stays in the store until that is done, so that another
// node does it if this one dies. e.mu is held.
func (s *Scheduler) announce(e *entry) {
	if !e.session.Issued() {
		return
	}
	now := s.clock.now()
	r := e.session.Record(e.reason, now)
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
			s.config.Announce(newEvent(what, &r, s.config.Node, now.Milli()), func(bool) {
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
