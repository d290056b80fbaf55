package scheduler

import (
	"log/slog"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// This file has what the cluster calls: the methods of cluster.Node, and the answers to
// records that were saved.

// Adopt takes over a session whose owner is gone. If the session is here already, the store
// has it as overdue: one of the two is not up to date, because the notice of an operator's
// wish was lost, say. The session is saved again then, and the store's answer tells the
// rest.
func (s *Scheduler) Adopt(r *store.Record) {
	defer s.config.Panics.Recover(panics.Session, nil, "session", r.Session)
	if here := s.table.get(r.Session); here != nil {
		here.change(func() bool {
			wished := r.WishVersion > here.wish || r.HasEnded() && here.session.State() != session.Ended
			if !wished && here.session.Epoch() == r.Epoch && here.version == r.Version {
				return false
			}
			here.session.Fence(r.Epoch)
			here.saved = summary{}
			return true
		})
		return
	}
	if !s.config.Serves(r.App) {
		return
	}
	e := s.restore(r, s.clock.now())
	e.Lock() // free: nobody else has it
	defer e.Unlock()
	if !s.table.insert(e, nil, true) {
		return // its client has come back here meanwhile
	}
	e.emit(event{kind: evOpened})
	defer e.contain(nil)
	e.emit(event{kind: evAdopted})
	if e.session.State() != session.Ended && e.isRevoked() {
		e.end(session.EndRevoked)
	}
	e.commit()
}

// SaveAgain has the record of a session saved, whether or not the session has changed.
func (s *Scheduler) SaveAgain(id string) {
	if e, _ := s.table.find(id); e != nil {
		saveAgain(e)
	}
}

// SaveAllAgain has the records of all open sessions of some shards saved.
func (s *Scheduler) SaveAllAgain(shards *store.ShardSet) {
	if *shards == (store.ShardSet{}) {
		return
	}
	entries := s.table.all(func(e *entry) bool { return shards[store.ShardOf(e.claims.Session)] })
	if len(entries) == 0 {
		return
	}
	s.config.Logger.Info("writing sessions to the store again", "sessions", len(entries))
	for _, e := range entries {
		saveAgain(e)
	}
}

func saveAgain(e *entry) {
	e.change(func() bool {
		e.saved = summary{}
		return true
	})
}

// Find returns the key of an open session of a project as it was when the session came
// here, or false if it is not on this node.
func (s *Scheduler) Find(app, id string) (session.ResumeClaims, bool) {
	if e, _ := s.table.find(id); e != nil && e.claims.App == app {
		return e.claims, true
	}
	return session.ResumeClaims{}, false
}

// ApplyWish carries an operator's wish out for a session that is open on this node. asked is
// the result so far: whether the wish is stored, and the record as the store has it. The
// channel gives the result once the session's lock is free; it is closed without one if the
// session is not on this node any more, or not its own by the record.
func (s *Scheduler) ApplyWish(w store.Wish, asked store.WishResult) <-chan store.WishResult {
	carried := make(chan store.WishResult, 1)
	e, _ := s.table.find(w.Session)
	if e == nil {
		close(carried)
		return carried
	}
	e.change(func() bool {
		defer close(carried)
		r := &asked.Record
		own := !asked.Stored || r.OwnedBy(s.config.Node) || e.session.Epoch() > r.Epoch // the store's record is older than what is here
		if !own || e.session.State() == session.Ended {
			return false
		}
		done := s.applyWish(e, w, asked)
		e.commit()
		carried <- done
		return false
	})
	return carried
}

// applyWish applies an operator's wish to a session and returns the result.
func (s *Scheduler) applyWish(e *entry, w store.Wish, result store.WishResult) store.WishResult {
	now, role := roleOf(e.session.Identity), roleOf(result.Record.Identity)
	if !result.Stored || result.Version < e.wish || result.Version == e.wish && role != now {
		result.Version = max(e.wish+1, w.At) // by the store, this one comes before what was done here
		if role = now; w.Kind == store.WishRole {
			role = w.Role
		}
	}
	if w.Kind == store.WishEnd {
		e.wish = max(e.wish, result.Version)
		e.end(session.EndRevoked)
	} else {
		e.adoptWish(result.Version, role)
	}
	result.Applied = true
	result.Record = store.Record{Record: e.session.Record(e.reason, s.clock.now()), Node: s.config.Node, WishVersion: e.wish}
	return result
}

// adoptWish applies an operator's wish of this version to the session, unless the session has
// applied it or a later one: the session takes the role, and its client gets new tokens, at
// once or when it is back.
func (e *entry) adoptWish(version session.UnixMilli, role session.Role) {
	if version <= e.wish || e.session.State() == session.Ended {
		return
	}
	cause := e.adoptRole(version, role)
	switch now := e.engine.clock.now(); {
	case e.client != nil:
		e.renewSoon(cause, now)
	case e.session.RenewRequestedOverHTTP(now) == session.Repeat: // it would be given the same tokens again
		e.session.Want(cause, now)
	}
}

// adoptRole gives the session the role of an operator's wish of this version, and returns
// the cause of the renewal that the wish asks for.
func (e *entry) adoptRole(version session.UnixMilli, role session.Role) session.Cause {
	e.wish = version
	if e.session.SetRole(role) {
		return session.CauseRole
	}
	return session.CauseRenew
}

// Acknowledge implements store.Writer.
func (e *entry) Acknowledge(r *store.Record, o store.Outcome) { (&answer{e, r, o}).take() }

// answer is what the store says to a session's record.
type answer struct {
	entry   *entry
	record  *store.Record
	outcome store.Outcome
}

// take does what the answer asks for.
func (a *answer) take() {
	e, table := a.entry, a.entry.engine.table
	switch a.outcome.Action {
	case store.Done:
		if a.outcome.Wish.Version > 0 {
			e.change(a.overtaken)
		}
		if a.record.HasEnded() && a.record.Delivered.Has(store.DeliveredEnd) {
			table.forget(e) // the store answers for it now
		}
	case store.CloseSuperseded, store.Release, store.EndSession:
		e.change(a.lost)
	case store.FinishEnd:
		e.change(a.ended)
	case store.RaiseEpoch:
		open, ended := table.find(e.claims.Session)
		if current := open == e || open == nil && ended == e; current {
			e.change(a.raiseEpoch)
		} else { // its key has opened the session anew since, which has an entry of its own
			table.forget(e)
		}
	case store.LeaveAlone:
		if a.record.HasEnded() {
			table.forget(e)
		}
	case store.Retry: // does not occur: the cluster saves the record again itself
	}
}

// overtaken applies an operator's wish that the store has and the record does not.
func (a *answer) overtaken() bool {
	e, later := a.entry, a.outcome.Wish
	if later.Version <= e.wish {
		return false
	}
	e.engine.journal.log(e, slog.LevelInfo, "a change by an operator came by the store", "version", int64(later.Version))
	e.adoptWish(later.Version, later.Role)
	return true
}

// lost discards a session that another node has, or that was ended elsewhere.
func (a *answer) lost() bool {
	e := a.entry
	if e.session.Epoch() != a.record.Epoch || e.lost {
		return false // its client has come back here since
	}
	if e.session.State() == session.Ended {
		e.engine.table.forget(e)
		return false
	}
	e.emit(event{kind: evLost})
	if client := e.client; client != nil {
		switch a.outcome.Action {
		case store.CloseSuperseded:
			client.End(e.session.Ending(session.EndSuperseded))
		case store.EndSession:
			client.End(a.outcome.Ending)
		default:
			client.CloseDead() // a client that is still there resumes, and its key's epoch decides
		}
	}
	e.discard()
	return true
}

// ended ends a session that an operator ended in the store. If it has ended here for
// another reason meanwhile, its record is saved again with the operator's reason, which
// decides how long the tombstone is kept.
func (a *answer) ended() bool {
	e, reason := a.entry, a.outcome.Ending.Reason
	switch {
	case e.lost || e.session.Epoch() != a.record.Epoch:
		return false
	case e.session.State() != session.Ended:
		e.end(reason)
	default:
		e.reason, e.saved = reason, summary{}
	}
	return true
}

// raiseEpoch has the session saved under an epoch that the store gave this node, in an
// answer that never came.
func (a *answer) raiseEpoch() bool {
	e := a.entry
	if e.lost || e.session.Epoch() >= a.outcome.Epoch {
		return false // a later answer has told it
	}
	e.session.Fence(a.outcome.Epoch)
	e.saved = summary{}
	return true
}

// makeRoom ends detached sessions as expired until no more are open than the table may
// have. The caller holds held's lock and no other.
func (s *Scheduler) makeRoom(held *entry) {
	for e := s.table.takeSurplus(held); e != nil; e = s.table.takeSurplus(held) {
		if more, ok := s.journal.crowded.Pass(logEvery); ok {
			s.config.Logger.Warn("more sessions than --max-sessions: the longest detached are forgotten; their keys still open them", "more", more)
		}
		if e == held {
			evict(e)
			continue
		}
		func() {
			defer e.Unlock()
			defer e.contain(nil)
			evict(e)
		}()
	}
}

// evict ends a detached session.
func evict(e *entry) {
	if e.session.State() == session.Detached {
		e.end(session.EndExpired)
	}
	e.commit()
}
