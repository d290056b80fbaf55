package scheduler

import (
	"context"
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// gripTimeout is how long a client that comes back waits for what the
	// store knows of it. Its key says enough to go on without.
	gripTimeout = 400 * time.Millisecond
	// gripQueue is how long it waits before that for others, who came at the
	// same time; gripsAtOnce go to the store together.
	gripQueue   = time.Second
	gripsAtOnce = 24
	// gripPause is for how long the store is not asked again that did not
	// answer in time.
	gripPause = time.Second
)

// grip asks the store for a session that a client has shown a key to. It is not
// asked when it is away or did not answer a moment ago: the key says enough to go
// on, as if the store knew nothing.
func (s *Scheduler) grip(ctx context.Context, key session.Key, attach bool) (store.Acquired, error) {
	byKey := store.Acquired{Epoch: key.Epoch + 1}
	if !s.outbox.reachable(store.ShardOf(key.Session)) || !s.queueForGrip() {
		return byKey, nil
	}
	defer func() { <-s.grips }()
	now := s.clock.now().Mono
	before := s.gripAfter.Load()
	if time.Duration(before) > now {
		return byKey, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gripTimeout)
	defer cancel()
	held, err := s.config.Store.Acquire(ctx, store.AcquireRequest{Session: key.Session, Epoch: key.Epoch, Node: s.config.Node, Attach: attach})
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		return held, ended
	}
	if errors.Is(err, store.ErrUnreadable) {
		return byKey, nil
	}
	if err != nil {
		if s.gripAfter.CompareAndSwap(before, int64(s.clock.now().Mono+gripPause)) { // once for many
			s.config.Logger.Warn("the store does not answer; clients that come back are taken by their keys", "error", err)
		}
		return byKey, nil
	}
	if held.Known && !held.Record.Fits(&key) {
		s.misfit(key.Session)
		return store.Acquired{Epoch: held.Epoch}, nil
	}
	return held, nil
}

// misfit logs that the record under a session's id has another project, subject or user
// than the key.
func (s *Scheduler) misfit(id string) {
	s.config.Logger.Error("a session's record does not match its key; the key counts", "session", id)
}

// queueForGrip waits for one of the places in which grips may be under way, for
// a while: a storm of clients must not look like a store that does not answer.
func (s *Scheduler) queueForGrip() bool {
	select {
	case s.grips <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(gripQueue)
	defer wait.Stop()
	select {
	case s.grips <- struct{}{}:
		return true
	case <-wait.C:
		return false
	}
}
