package scheduler

import (
	"refresher/internal/panics"
)

// contain is deferred while e is locked, and keeps a panic in the handling of one
// session from ending the process. It ends the session on this node, and only
// here: its connection is closed, and its client comes back with its key, which
// opens the session anew from the store or the key. failed becomes
// panics.ErrPanicked; it may be nil. e.mu is held.
func (s *Scheduler) contain(e *entry, failed *error) {
	if s.config.Panics == nil {
		return
	}
	value := recover()
	if value == nil {
		return
	}
	s.config.Panics.Report(panics.Session, value, "session", e.id)
	if failed != nil {
		*failed = panics.ErrPanicked
	}
	s.drop(e)
}

// drop removes a session from this node after a panic: its state may be half changed.
// e.mu is held.
func (s *Scheduler) drop(e *entry) {
	defer s.config.Panics.Recover(panics.Session, nil, "session", e.id)
	client, open := e.client, s.has(e)
	s.discard(e)
	s.bury(e)
	s.forgetEnding(e)
	if client != nil {
		client.Lost()
	}
	if open {
		s.commit(e)
	}
}

// has reports whether e is in the table.
func (s *Scheduler) has(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[e.id] == e
}

// do calls f with the session locked, see entry.do, and keeps a panic in it from
// ending the process.
func (s *Scheduler) do(e *entry, f func()) {
	e.do(func() {
		defer s.contain(e, nil)
		f()
	})
}
