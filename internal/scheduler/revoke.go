package scheduler

import (
	"sync"
	"time"

	"refresher/internal/session"
)

// revokeTimeout is how long Revoke waits for sessions whose lock another goroutine holds.
const revokeTimeout = 700 * time.Millisecond

// Revoke ends the open sessions of this node that are revoked. match returns the id of the
// revocation that matches a session, or "". Revoke calls ended with that id and the second until
// which the session's tokens work. If another goroutine holds a session's lock, for example to
// write to its client, the session ends when it is unlocked; Revoke waits for that up to
// revokeTimeout. match must be fast, and neither function may call the Scheduler.
func (s *Scheduler) Revoke(match func(*session.ResumeClaims) (id string), ended func(id string, accessEndsAt session.UnixSec)) {
	var left sync.WaitGroup
	for _, e := range s.table.all(nil) {
		id := match(&e.claims)
		if id == "" {
			continue
		}
		left.Add(1)
		e.change(func() bool {
			defer left.Done() // deferred, so that it runs even after a panic
			if e.session.State() == session.Ended {
				return false
			}
			accessEndsAt := e.session.Ending(session.EndRevoked).AccessEndsAt
			e.end(session.EndRevoked)
			e.commit()
			ended(id, accessEndsAt)
			return false
		})
	}
	done := make(chan struct{})
	go func() {
		left.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(revokeTimeout):
	}
}
