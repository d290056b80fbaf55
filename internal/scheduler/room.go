package scheduler

import "refresher/internal/session"

// A node keeps at most Config.MaxSessions sessions. Attached ones come first, since each
// has a client and a connection of its own. A client can make detached ones at will, by
// joining and hanging up, and they stay for as long as their tokens are good; but their
// keys open them anew, so that a client loses little when the node forgets one. When
// there are too many, the session that is detached for longest is forgotten; a renewal
// over HTTP starts that time again. A node therefore keeps MaxSessions sessions, or one
// for each connection if that is more. Adopted ones (see adopt) are not counted: they are
// overdue, and gone in minutes.

// setWaiting adds a detached entry to the end of s.waiting, unless it is in there, or
// removes it. s.mu is held.
func (s *Scheduler) setWaiting(e *entry, waits bool) {
	switch {
	case waits && e.waits == nil:
		e.waits = s.waiting.PushBack(e)
	case !waits && e.waits != nil:
		s.waiting.Remove(e.waits)
		e.waits = nil
	}
}

// postpone puts a detached entry behind the others: its client renews over HTTP. e.mu is
// held.
func (s *Scheduler) postpone(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.waits != nil {
		s.waiting.MoveToBack(e.waits)
	}
}

// tooMany reports that a detached session has to give way. s.mu is held.
func (s *Scheduler) tooMany() bool {
	return s.config.MaxSessions > 0 && len(s.entries)-s.adopted > s.config.MaxSessions && s.waiting.Len() > 0
}

// makeRoom ends detached sessions as expired, the longest detached first, until no more
// than MaxSessions are open or no detached one is left. It passes over entries whose
// lock is taken: their clients are coming back. The caller holds held.mu and no other
// lock.
func (s *Scheduler) makeRoom(held *entry) {
	for e := s.surplus(held); e != nil; e = s.surplus(held) {
		if ok, more := s.crowded.allow(s.clock.now().Mono); ok {
			s.config.Logger.Warn("more sessions than --max-sessions: the longest detached are forgotten; their keys still open them", "more", more)
		}
		if e == held {
			s.giveWay(e)
			continue
		}
		func() {
			defer e.unlock()
			defer s.contain(e, nil)
			s.giveWay(e)
		}()
	}
}

// giveWay ends a detached session. e.mu is held.
func (s *Scheduler) giveWay(e *entry) {
	if e.session.State() == session.Detached {
		s.end(e, session.EndExpired)
	}
	s.commit(e)
}

// surplus returns the next session for makeRoom to end, locked, or nil.
func (s *Scheduler) surplus(held *entry) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tooMany() {
		return nil
	}
	for place := s.waiting.Front(); place != nil; place = place.Next() {
		if e, ok := place.Value.(*entry); ok && (e == held || e.mu.TryLock()) { // TryLock does not wait, so the lock order does not apply
			return e
		}
	}
	return nil
}
