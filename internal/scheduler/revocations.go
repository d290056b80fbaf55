package scheduler

import (
	"sync/atomic"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Revocations answers from this node's copy of the revocations. Its methods are safe for
// concurrent use, and fast.
type Revocations interface {
	// Loaded reports whether the node knows what was revoked before it started.
	Loaded() bool
	// Revoked reports whether a revocation matches a session, which must not be open
	// then.
	Revoked(k *session.Key) bool
}

type noRevocations struct{}

func (noRevocations) Loaded() bool              { return true }
func (noRevocations) Revoked(*session.Key) bool { return false }

// mayReturn refuses the resume key of a session that is revoked, and every key until the
// node has loaded the revocations.
func (s *Scheduler) mayReturn(k *session.Key, r *session.Resume) error {
	switch {
	case !s.config.Revocations.Loaded():
		return session.ErrUninformed
	case s.config.Revocations.Revoked(k):
		// ExpiresAt is the client's claim. A wrong one misleads that client only.
		return &session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: r.ExpiresAt}}
	}
	return nil
}

// revokedMeanwhile ends a session whose client is resuming, if the revocation came after
// mayReturn had admitted the client and before Revoke could find the session. The error
// is for the client. e.mu is held.
func (s *Scheduler) revokedMeanwhile(e *entry, held store.Acquired) error {
	key := e.session.Key()
	if !s.config.Revocations.Revoked(&key) {
		return nil
	}
	ending := e.session.Ending(session.EndRevoked)
	e.session.Fence(held.Epoch) // the store has the session under this epoch
	s.end(e, session.EndRevoked)
	s.commit(e)
	return &session.EndedError{Ending: ending}
}

// Revoke ends the open sessions of this node for which match returns an id, and calls
// ended for each with that id and the last second at which the session's tokens work. It
// waits up to heldTimeout for sessions that another goroutine holds, for example to write
// to their client; those end later. match must be fast, and neither may call the
// Scheduler.
func (s *Scheduler) Revoke(match func(*session.Key) (id string), ended func(id string, accessEndsAt session.UnixSec)) {
	s.mu.Lock()
	open := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		open = append(open, e)
	}
	s.mu.Unlock()
	var left atomic.Int64
	left.Store(1)
	done := make(chan struct{})
	finish := func() {
		if left.Add(-1) == 0 {
			close(done)
		}
	}
	for _, e := range open {
		id := match(&e.key)
		if id == "" {
			continue
		}
		left.Add(1)
		s.do(e, func() {
			defer finish() // also after a panic
			if e.session.State() == session.Ended {
				return
			}
			ending := e.session.Ending(session.EndRevoked)
			s.end(e, session.EndRevoked)
			s.commit(e)
			ended(id, ending.AccessEndsAt)
		})
	}
	finish()
	timeout := time.NewTimer(heldTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}
