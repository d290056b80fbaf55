package scheduler

import (
	"sync"
	"time"

	"refresher/internal/session"
)

// revokeTimeout is how long Revoke waits for sessions that another goroutine holds.
const revokeTimeout = 700 * time.Millisecond

// Revoke ends the open sessions of this node for which match returns an id, and calls ended
// for each with that id and the last second at which the session's tokens work. It waits up
// to revokeTimeout for sessions that another goroutine holds, for example to write to their
// client; those end later. match must be fast, and neither may call the Scheduler.
func (s *Scheduler) Revoke(match func(*session.ResumeClaims) (id string), ended func(id string, accessEndsAt session.UnixSec)) {
	var left sync.WaitGroup
	for _, e := range s.table.all(nil) {
		id := match(&e.claims)
		if id == "" {
			continue
		}
		left.Add(1)
		e.change(func() bool {
			defer left.Done() // also after a panic
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
