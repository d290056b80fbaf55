package scheduler

import (
	"log/slog"

	"refresher/internal/session"
	"refresher/internal/store"
)

// written is what of a session the store was last told, or is about to be: as
// much as it takes to see whether it must be told again.
type written struct {
	epoch, proven, seq, held uint64
	expiresAt, until         int64
	state                    session.State
	role                     session.Role
	missed, ranOut, reported bool
	told                     store.Told
	any                      bool // it was told anything
}

// summary is what tell would write of r. A bundle that is on its way to a client
// that is here makes no difference until it is confirmed: that spares every
// second write. e.mu is held.
func (e *entry) summary(r *session.Record) written {
	w := written{
		epoch: r.Epoch, proven: r.Proven, seq: r.Seq, held: r.HeldSeq, expiresAt: r.ExpiresAt, until: r.Terms.Until,
		state: r.State, missed: r.Missed, ranOut: r.RanOut, reported: r.Reported, told: e.told, any: true,
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
	s.outbox.put(e, &store.Record{Record: r, Node: s.config.Node, Rev: e.rev, Told: e.told, DueMs: now.WallMs(due)}, s.traceRecord(e))
}

// known notes that the store knows of the attachment that was just made: it was
// told by the grip. e.mu is held.
func (s *Scheduler) known(e *entry) {
	r := e.session.Record(e.reason, s.clock.now())
	e.written = e.summary(&r)
}

// adopt takes over a session whose owner is gone.
func (s *Scheduler) adopt(r *store.Record) {
	s.mu.Lock()
	e := s.entries[r.Session]
	if e == nil {
		e = s.ended[r.Session]
	}
	if e != nil || !s.config.Serves(r.App) {
		s.mu.Unlock()
		if e != nil {
			s.compare(e, r.Epoch, r.Rev)
		}
		return
	}
	e = s.restore(r, s.clock.now())
	e.adopted = true
	e.mu.Lock() // free: nobody else has it
	defer e.unlock()
	s.insert(e)
	s.mu.Unlock()
	s.metrics.adopted.Inc()
	s.log(e, slog.LevelInfo, "session adopted, its node is gone", "epoch", r.Epoch)
	s.assume(e)
	if key := e.session.Key(); e.session.State() != session.Ended && s.config.Orders.Revoked(&key) {
		s.end(e, session.EndRevoked)
	}
	s.commit(e)
}

// compare looks into a session that the store has as overdue and as this node's,
// which it is: if the store is not up to date, it is told again.
func (s *Scheduler) compare(e *entry, epoch, rev uint64) {
	e.do(func() {
		if e.session.Epoch() != epoch || e.rev != rev {
			e.session.Fence(epoch)
			e.written = written{}
			s.commit(e)
		}
	})
}

// restore makes an entry from a record.
func (s *Scheduler) restore(r *store.Record, now session.Instant) *entry {
	if r.State != session.Ended { // by a node that had nobody to tell, perhaps
		r.Told &^= store.ToldEnd
	}
	e := newEntry(session.Restore(r.Record, &s.config.Policy, now))
	e.reason, e.told = r.Reason, r.Told
	e.rev = r.Rev // what this node writes comes after it
	return e
}

// tellAgain has a session's record written, whether or not it has changed.
func (s *Scheduler) tellAgain(e *entry) {
	e.do(func() {
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
		switch o.Verdict {
		case store.Superseded:
			client.End(e.session.Ending(session.EndSuperseded))
		case store.Dead:
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
	e.do(func() {
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

// forgetEnding leaves it to the store to answer for an ended session.
func (s *Scheduler) forgetEnding(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended[e.id] == e {
		delete(s.ended, e.id)
	}
}
