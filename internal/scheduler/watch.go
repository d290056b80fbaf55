package scheduler

import (
	"context"
	"time"
)

const (
	// watchPause is how long broken notices are left alone.
	watchPause = time.Second
)

// watch follows what other nodes take away.
func (s *Scheduler) watch(ctx context.Context) {
	first := true
	for {
		err := s.config.Store.Watch(ctx, s.config.Node, func() {
			if !first { // there was a gap, in which something may have been missed
				s.rewrite(allShards())
			}
			first = false
		}, s.noticed)
		if ctx.Err() != nil {
			return
		}
		if !s.Degraded() { // else it is known
			s.config.Logger.Warn("notices of what other nodes take are interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// noticed looks into a session that another node has taken: the store's answer
// to its record says what is to be done.
func (s *Scheduler) noticed(id string) {
	s.mu.Lock()
	e := s.entries[id]
	s.mu.Unlock()
	if e != nil {
		s.tellAgain(e)
	}
}
