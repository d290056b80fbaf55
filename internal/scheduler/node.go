package scheduler

import (
	"log/slog"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// This file implements cluster.Node and store.Writer. A store.Writer receives the store's answer to
// each record that it saved.

// Adopt takes over a session of a dead node. If the session is already on this node and differs
// from the stored record, Adopt saves the session again, and the store's answer resolves the
// difference. The two differ, for example, if the notice of an operator's change (a wish) was lost.
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
	e.Lock() // does not block: e is not in the table yet, so no other goroutine can hold its lock
	defer e.Unlock()
	if !s.table.insert(e, nil, true) {
		return // the session's client has resumed on this node meanwhile
	}
	e.opened()
	defer e.contain(nil)
	e.emit(event{kind: evAdopted})
	if e.session.State() != session.Ended && e.isRevoked() {
		e.end(session.EndRevoked)
	}
	e.commit()
}

// SaveAgain enqueues a session's record for the store even if the record has not changed.
func (s *Scheduler) SaveAgain(id string) {
	if e, _ := s.table.find(id); e != nil {
		saveAgain(e)
	}
}

// SaveAllAgain enqueues the records of all open sessions of the given shards.
func (s *Scheduler) SaveAllAgain(shards *store.ShardSet) {
	if *shards == (store.ShardSet{}) {
		return
	}
	entries := s.table.all(func(e *entry) bool { return shards[store.ShardOf(e.claims.Session)] })
	if len(entries) == 0 {
		return
	}
	s.config.Logger.Info("rewriting sessions to Redis", "sessions", len(entries))
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

// Find returns the resume claims of an open session of the project app, or false if the session is
// not on this node. The epoch, role and terms in the claims may be outdated.
func (s *Scheduler) Find(app, id string) (session.ResumeClaims, bool) {
	if e, _ := s.table.find(id); e != nil && e.claims.App == app {
		return e.claims, true
	}
	return session.ResumeClaims{}, false
}

// ApplyWish applies an operator's change (wish) to a session that is open on this node. stored says
// whether the store has the wish, and contains the session's record as read from the store. The
// channel receives the result when the change is applied, which may have to wait for the session's
// lock. The channel is closed without a result if the session is no longer on this node, or if its
// record names another node as the owner.
func (s *Scheduler) ApplyWish(w store.Wish, stored store.WishResult) <-chan store.WishResult {
	carried := make(chan store.WishResult, 1)
	e, _ := s.table.find(w.Session)
	if e == nil {
		close(carried)
		return carried
	}
	e.change(func() bool {
		defer close(carried)
		r := &stored.Record
		// If the session's epoch is higher than the record's, this node owns the session, since the
		// stored record is outdated.
		own := !stored.Stored || r.OwnedBy(s.config.Node) || e.session.Epoch() > r.Epoch
		if !own || e.session.State() == session.Ended {
			return false
		}
		done := s.applyWish(e, w, stored)
		e.commit()
		carried <- done
		return false
	})
	return carried
}

// applyWish applies an operator's change (wish) to a session and returns the result.
func (s *Scheduler) applyWish(e *entry, w store.Wish, result store.WishResult) store.WishResult {
	now, role := roleOf(e.session.Identity), roleOf(result.Record.Identity)
	if !result.Stored || result.Version < e.wish || result.Version == e.wish && role != now {
		// Either the store does not have the operator's change, or this node has applied a later change
		// that the store does not have. So the operator's change gets a new version, which is higher than
		// that of the later change.
		result.Version = max(e.wish+1, w.At)
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

// adoptWish applies the operator's change (wish) of this version, unless this change or a later one
// was applied to the session before. The session gets the role, and its client gets new tokens: now
// if it is connected, else when it returns.
func (e *entry) adoptWish(version session.UnixMilli, role session.Role) {
	if version <= e.wish || e.session.State() == session.Ended {
		return
	}
	cause := e.adoptRole(version, role)
	switch now := e.engine.clock.now(); {
	case e.client != nil:
		e.renewSoon(cause, now)
	case e.session.RenewRequestedOverHTTP(now) == session.Repeat:
		// The newest tokens are unconfirmed and older than the operator's change. Without Want, the
		// client would get them again when it renews over HTTP.
		e.session.Want(cause, now)
	}
}

// adoptRole gives the session a role, and records the version of the operator's change (wish) that
// contains the role. It returns the cause of the renewal that must follow.
func (e *entry) adoptRole(version session.UnixMilli, role session.Role) session.Cause {
	e.wish = version
	if e.session.SetRole(role) {
		return session.CauseRole
	}
	return session.CauseRenew
}

// Acknowledge implements store.Writer.
func (e *entry) Acknowledge(r *store.Record, o store.Outcome) { (&answer{e, r, o}).apply() }

// answer is the store's answer to the save of a session's record.
type answer struct {
	entry   *entry
	record  *store.Record
	outcome store.Outcome
}

// apply changes the session as the answer requires.
func (a *answer) apply() {
	e, table := a.entry, a.entry.engine.table
	switch a.outcome.Action {
	case store.Done:
		if a.outcome.Wish.Version > 0 {
			e.change(a.overtaken)
		}
		if a.record.HasEnded() && a.record.Delivered.Has(store.DeliveredEnd) {
			table.forget(e) // the store has the tombstone, and refuses the session's keys from now on
		}
	case store.CloseSuperseded, store.Release, store.EndSession:
		e.change(a.lost)
	case store.FinishEnd:
		e.change(a.ended)
	case store.RaiseEpoch:
		open, ended := table.find(e.claims.Session)
		if current := open == e || open == nil && ended == e; current {
			e.change(a.raiseEpoch)
		} else { // the session was opened again with its key, and now has another entry
			table.forget(e)
		}
	case store.LeaveAlone:
		if a.record.HasEnded() {
			table.forget(e)
		}
	case store.Retry: // package cluster retries by itself and never passes this answer on
	}
}

// overtaken applies an operator's change (wish) that is newer than the saved record.
func (a *answer) overtaken() bool {
	e, later := a.entry, a.outcome.Wish
	if later.Version <= e.wish {
		return false
	}
	e.engine.journal.log(e, slog.LevelInfo, "operator's change read from Redis", "version", int64(later.Version))
	e.adoptWish(later.Version, later.Role)
	return true
}

// lost discards a session that another node owns, or that another node has ended.
func (a *answer) lost() bool {
	e := a.entry
	if e.session.Epoch() != a.record.Epoch || e.lost {
		return false // the client has returned to this node since the save, so the answer no longer counts
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
			// If the client still uses this connection, it will resume, and the epoch in its resume
			// key decides which node owns the session.
			client.CloseDead()
		}
	}
	e.discard()
	return true
}

// ended ends a session that an operator has ended in the store. If the session has already ended on
// this node for another reason, its record is saved again with the operator's reason, because the
// reason decides how long the store keeps the tombstone.
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

// raiseEpoch saves the session under a higher epoch: the epoch that the store assigned in an
// Acquire whose answer was lost.
func (a *answer) raiseEpoch() bool {
	e := a.entry
	if e.lost || e.session.Epoch() >= a.outcome.Epoch {
		return false // another answer of the store has raised the epoch already
	}
	e.session.Fence(a.outcome.Epoch)
	e.saved = summary{}
	return true
}

// makeRoom ends detached sessions as expired until the table is within its limit. The caller holds
// the lock of the entry `held`, and no other lock.
func (s *Scheduler) makeRoom(held *entry) {
	for e := s.table.takeSurplus(held); e != nil; e = s.table.takeSurplus(held) {
		if e == held {
			e.evict()
			continue
		}
		func() {
			defer e.Unlock()
			defer e.contain(nil)
			e.evict()
		}()
	}
}

// evict ends a session as expired, to keep the table within its limit.
func (e *entry) evict() {
	s := e.engine
	if more, ok := s.journal.crowded.Pass(logEvery); ok {
		s.config.Logger.Warn("more sessions than --max-sessions: the node drops those detached longest; their clients can still resume", "more", more)
	}
	e.end(session.EndExpired)
	e.commit()
}
