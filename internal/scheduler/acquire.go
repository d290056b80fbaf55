package scheduler

import (
	"context"
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// acquireTimeout bounds one request. Without an answer the session goes on by what
	// its resume key says.
	acquireTimeout = 400 * time.Millisecond
	// acquireQueue is how long a client that comes back waits for one of acquiresAtOnce
	// slots, which bound the number of requests under way.
	acquireQueue   = time.Second
	acquiresAtOnce = 24
	// acquireCooldown is how long the store is not asked after a request that it did
	// not answer.
	acquireCooldown = time.Second
)

// acquire makes this node the owner of a session whose resume key a client presented.
// If the store is down, or did not answer within acquireCooldown, acquire falls back to
// the epoch in the resume key.
func (s *Scheduler) acquire(ctx context.Context, key session.Key, attach bool) (store.Acquired, error) {
	byKey := store.Acquired{Epoch: key.Epoch + 1}
	if !s.outbox.reachable(store.ShardOf(key.Session)) {
		return byKey, nil
	}
	if got, err := s.queueToAcquire(ctx); err != nil || !got {
		return byKey, err
	}
	defer func() { <-s.acquires }()
	now := s.clock.now().Mono
	before := s.acquireAfter.Load()
	if time.Duration(before) > now {
		return byKey, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acquireTimeout) // what the store does must be known here
	defer cancel()
	held, err := s.config.Store.Acquire(ctx, store.AcquireRequest{Session: key.Session, Epoch: key.Epoch, Node: s.config.Node, Attach: attach})
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		return held, ended
	}
	if errors.Is(err, store.ErrUnreadable) {
		return byKey, nil
	}
	if err != nil {
		if s.acquireAfter.CompareAndSwap(before, int64(s.clock.now().Mono+acquireCooldown)) { // logged once for many failures
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

// misfit logs that a session's record has another project, subject or user than its
// resume key.
func (s *Scheduler) misfit(id string) {
	s.config.Logger.Error("a session's record does not match its key; the key counts", "session", id)
}

// queueToAcquire waits up to acquireQueue for a slot, and reports whether it got one. The
// slots keep a reconnect storm from looking like a store that does not answer. The error
// is that of ctx.
func (s *Scheduler) queueToAcquire(ctx context.Context) (bool, error) {
	select {
	case s.acquires <- struct{}{}:
		return true, nil
	default:
	}
	wait := time.NewTimer(acquireQueue)
	defer wait.Stop()
	select {
	case s.acquires <- struct{}{}:
		return true, nil
	case <-wait.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
