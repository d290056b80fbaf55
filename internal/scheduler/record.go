package scheduler

import (
	"refresher/internal/session"
	"refresher/internal/store"
)

// written is what of a session the store was last told, or is about to be: as
// much as it takes to see whether it must be told again.
type written struct {
	epoch, proven, seq, held uint64
	expiresAt, until         session.UnixSec
	state                    session.State
	role                     session.Role
	missed, ranOut, reported bool
	delivered                store.Delivered
	wish                     session.UnixMilli
	any                      bool // it was told anything
}

// summary is what tell would write of r. A bundle that is on its way to a client
// that is here makes no difference until it is confirmed: that spares every
// second write. e.mu is held.
func (e *entry) summary(r *session.Record) written {
	w := written{
		epoch: r.Epoch, proven: r.Proven, seq: r.Seq, held: r.HeldSeq, expiresAt: r.ExpiresAt, until: r.Terms.Until,
		state: r.State, missed: r.Missed, ranOut: r.RanOut, reported: r.Reported, delivered: e.delivered, wish: e.wish, any: true,
	}
	if rtc := r.Identity.RTC; rtc != nil {
		w.role = rtc.Role
	}
	if r.State == session.Attached && e.session.Unconfirmed() {
		w.seq, w.expiresAt = w.held, r.HeldExpiresAt
	}
	return w
}

// tell has the store told of a session that has changed in what others would
// have to know of it. e.mu is held.
func (s *Scheduler) tell(e *entry) {
	now := s.clock.now()
	r := e.session.Record(e.reason, now)
	w := e.summary(&r)
	if w == e.written || !e.session.Issued() {
		return
	}
	due := e.session.Deadline()
	if r.State == session.Ended {
		if s.outbox.full() {
			s.forgetEnding(e)
			return
		}
		due = now.Mono // what is left to do of it
	}
	e.written = w
	e.rev++
	s.outbox.put(e, &store.Record{
		Record: r, Node: s.config.Node, Version: e.rev, Delivered: e.delivered, Due: now.MilliAt(due), WishVersion: e.wish,
		TermsChanged: r.Terms != e.key.Terms,
	}, s.traceRecord(e))
}

// known notes that the store knows of the attachment that was just made: it was
// told when it acquired the session. e.mu is held.
func (s *Scheduler) known(e *entry) {
	r := e.session.Record(e.reason, s.clock.now())
	e.written = e.summary(&r)
}

// tellAgain has a session's record written, whether or not it has changed.
func (s *Scheduler) tellAgain(e *entry) {
	s.do(e, func() {
		e.written = written{}
		s.commit(e)
	})
}

// rewrite has the records of all sessions in some shards written again.
func (s *Scheduler) rewrite(which *shards) {
	if *which == (shards{}) {
		return
	}
	s.mu.Lock()
	var entries []*entry
	for _, e := range s.entries {
		if which[store.ShardOf(e.id)] {
			entries = append(entries, e)
		}
	}
	s.mu.Unlock()
	if len(entries) == 0 {
		return
	}
	s.config.Logger.Info("writing sessions to the store again", "sessions", len(entries))
	for _, e := range entries {
		s.tellAgain(e)
	}
}

// owns reports whether this node owns a session by the store's record of it.
func (s *Scheduler) owns(r *store.Record) bool {
	return store.NodeID(r.Node) == store.NodeID(s.config.Node) // a store may not know the rest of the name yet
}

// forgetEnding leaves it to the store to answer for an ended session.
func (s *Scheduler) forgetEnding(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended[e.id] == e {
		delete(s.ended, e.id)
	}
}
