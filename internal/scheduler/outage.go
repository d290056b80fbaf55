package scheduler

import (
	"regexp"
	"sync"
)

// outage is what the log has of a store that is away, in all or in part.
type outage struct {
	mu   sync.Mutex // held from an answer until what it means is known to all; locked before the outbox's
	said int        // how many shards were away when that was logged last; guarded by mu
	// unleased: the node's lease could not be renewed at the last sweep; guarded by mu.
	unleased bool
}

// storeAnswered notes which shards were reached and which were not, because of
// err. It returns those that are back after they had been away: they are to be
// told of all their sessions again, since what they were told before may be lost
// with a server.
func (s *Scheduler) storeAnswered(reached, failed *shards, err error) (back shards) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	back, away, since := s.outbox.answered(reached, failed, s.clock.now().Mono)
	switch {
	case away == 0 && !s.outage.unleased:
		if s.storeError.Swap("") != "" {
			_, unwritten, _ := s.outbox.state()
			s.config.Logger.Info("the store is back", "away_seconds", since.Seconds(), "unwritten", unwritten)
		}
	case err != nil:
		// Another kind of error than before is news: a password that was
		// changed while the server was down, say. So is twice as much that is
		// away: the first write that fails knows of its own shards alone.
		if kind := errorKind(err); s.storeError.Swap(kind) != kind || away >= 2*max(1, s.outage.said) {
			s.outage.said = away
			s.config.Logger.Warn("the store cannot be reached, or refuses; calls go on without it", "shards", away, "error", err)
		}
	}
	return back
}

// errorKind is a server's word for an error, such as OOM or WRONGPASS, or that
// there was no answer.
func errorKind(err error) string {
	if code := errorCode.FindString(err.Error()); code != "" && code != "EOF" {
		return code
	}
	return noAnswer
}

const noAnswer = "no answer"

var errorCode = regexp.MustCompile(`\b[A-Z]{3,}\b`)

// leaseAnswered notes whether the node's lease was renewed.
func (s *Scheduler) leaseAnswered(err error) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	s.outage.unleased = err != nil
}

// Degraded reports that the store, or a part of it, cannot be reached, or that the node
// has no lease. Calls go on all the same.
func (s *Scheduler) Degraded() bool { return s.storeError.Load() != "" }
