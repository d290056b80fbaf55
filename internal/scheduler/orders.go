package scheduler

import (
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Orders are what operators have ordered, as far as this node knows. Its methods
// are safe for concurrent use, and fast.
type Orders interface {
	// Loaded reports that it knows what was ordered before it started.
	Loaded() bool
	// Revoked reports that a session must not be, whoever has its key.
	Revoked(k *session.Key) bool
}

type noOrders struct{}

func (noOrders) Loaded() bool              { return true }
func (noOrders) Revoked(*session.Key) bool { return false }

// applyFor is how long Apply waits for sessions that others hold, while they write
// to a slow client, say. The order reaches those too, later.
const applyFor = 700 * time.Millisecond

// mayReturn refuses the key of a session that was revoked, or all of them while it
// is not known what was.
func (s *Scheduler) mayReturn(k *session.Key, r *session.Resume) error {
	switch {
	case !s.config.Orders.Loaded():
		return session.ErrUninformed
	case s.config.Orders.Revoked(k):
		// The client knows best what it has; it can only fool itself.
		return &session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: r.ExpiresAt}}
	}
	return nil
}

// revokedMeanwhile ends a session whose client is on its way back, if an order came
// after the client was let through and before the session was where the order would
// have found it. The error is what to tell the client. e.mu is held.
func (s *Scheduler) revokedMeanwhile(e *entry, held store.Acquired) error {
	key := e.session.Key()
	if !s.config.Orders.Revoked(&key) {
		return nil
	}
	ending := e.session.Ending(session.EndRevoked)
	e.session.Fence(held.Epoch) // the store takes it for that
	s.end(e, session.EndRevoked)
	s.commit(e)
	return &session.EndedError{Ending: ending}
}

// Apply brings this node's sessions in line with an order, and says what there was
// to do. It may be called again for the same order, to the same effect.
func (s *Scheduler) Apply(o store.Order) store.Report {
	report := store.Report{Node: s.config.Node}
	switch o.Kind {
	case store.OrderRevoke:
		s.revoke(&o, &report)
	case store.OrderRole, store.OrderRenew, store.OrderRotate: // given by nobody
	}
	return report
}

// matching are the open sessions that an order is about.
func (s *Scheduler) matching(o *store.Order) []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Session != "" {
		if e := s.entries[o.Session]; e != nil && o.Matches(&e.key) {
			return []*entry{e}
		}
		return nil
	}
	var found []*entry
	for _, e := range s.entries {
		if o.Matches(&e.key) {
			found = append(found, e)
		}
	}
	return found
}

// each does f with each entry that is still open, adds up in report what came of
// it, and waits for that, for a while. f holds the entry.
func (s *Scheduler) each(entries []*entry, report *store.Report, f func(e *entry) store.Report) {
	if len(entries) == 0 {
		return
	}
	var mu sync.Mutex
	left, late := len(entries), false // guarded by mu
	done := make(chan struct{})
	for _, e := range entries {
		s.do(e, func() {
			var one store.Report
			defer func() { // also of one that panics
				mu.Lock()
				defer mu.Unlock()
				if left--; !late {
					add(report, &one)
				}
				if left == 0 {
					close(done)
				}
			}()
			if e.session.State() != session.Ended {
				one = f(e)
				s.commit(e)
			}
		})
	}
	timeout := time.NewTimer(applyFor)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
	mu.Lock()
	defer mu.Unlock()
	late = true // report is the caller's from here on
}

// add adds what came of one session to what came of all.
func add(report, one *store.Report) {
	report.Sessions += one.Sessions
	report.Done += one.Done
	report.Failed += one.Failed
	report.AccessEndsAt = max(report.AccessEndsAt, one.AccessEndsAt)
	if one.Note != "" {
		report.Note = one.Note
	}
}

// revoke ends what matches.
func (s *Scheduler) revoke(o *store.Order, report *store.Report) {
	s.each(s.matching(o), report, func(e *entry) store.Report {
		s.end(e, session.EndRevoked)
		return store.Report{Sessions: 1, Done: 1, AccessEndsAt: e.session.Ending(session.EndRevoked).AccessEndsAt}
	})
}
