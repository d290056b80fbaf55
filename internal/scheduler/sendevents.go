package scheduler

import (
	"strconv"

	"refresher/internal/session"
	"refresher/internal/store"
)

// sendEvents sends each event of the session that your back end has not acknowledged. Every node
// that owns the session does so until a delivery is acknowledged, so an event is delivered at least
// once. An ended session stays in the store until its events are acknowledged, so that another node
// can send them if this node dies.
func (e *entry) sendEvents() {
	if !e.session.Issued() {
		return
	}
	unreachable := e.session.Unreachable()
	if !unreachable { // the client has a new bundle, so a later "unreachable" is a separate event
		e.delivered &^= store.DeliveredUnreachable
		e.sent &^= store.DeliveredUnreachable
	}
	due := store.DeliveredJoined
	if unreachable {
		due |= store.DeliveredUnreachable
	}
	if e.session.State() == session.Ended {
		due |= store.DeliveredEnd
	}
	if e.engine.config.SendEvent == nil {
		e.delivered |= due // without a webhook, all events count as delivered
		return
	}
	for _, what := range []store.Delivered{store.DeliveredJoined, store.DeliveredUnreachable, store.DeliveredEnd} {
		if due.Has(what) && !e.delivered.Has(what) && !e.sent.Has(what) {
			e.sent |= what
			e.sendEvent(what)
		}
	}
}

// sendEvent sends one event. When the event is acknowledged or its delivery is given up, sendEvent
// records the event as delivered.
func (e *entry) sendEvent(what store.Delivered) {
	s := e.engine
	now := s.clock.now()
	r := e.session.Record(e.reason, now)
	s.config.SendEvent(newEvent(what, &r, s.config.Node, now.Milli()), func(bool) {
		e.change(func() bool {
			if what == store.DeliveredUnreachable && e.session.Record(e.reason, s.clock.now()).Seq != r.Seq {
				return false // the event was about an older bundle, so the newer bundle may need an event of its own
			}
			e.delivered |= what
			return true
		})
	})
}

// newEvent returns an event of a session. The argument `what` is the bit of store.Delivered that
// stands for the event. The event's ID is the same on every node, so that your back end can
// recognise a repeated event.
func newEvent(what store.Delivered, r *session.Record, node string, at session.UnixMilli) session.Event {
	e := session.Event{
		At: at, App: r.App, Session: r.Session, Subject: r.Subject, Node: node, Identity: r.Identity, Seq: r.Seq, ExpiresAt: r.ExpiresAt,
	}
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
