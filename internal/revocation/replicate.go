package revocation

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"refresher/internal/store"
)

const (
	// pollEvery is how often the store is asked for its version: a change that this node
	// was not told of has effect within a second.
	pollEvery = 500 * time.Millisecond
	// minRetry and maxRetry bound the wait before a store that is away is asked again.
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second
	// storeTimeout is how long the store may take when nobody waits for the answer.
	storeTimeout = 3 * time.Second
	// expireEvery is how often what is over is removed. It has no effect before.
	expireEvery = 10 * time.Second
	// fullPause is how long a store that is full is left alone.
	fullPause = time.Minute
	// maxGap bounds the pause between two readings of everything.
	maxGap = 300 * time.Millisecond
	// lastChance is how long Run goes on, after its context is done, to save what the store
	// does not have.
	lastChance = time.Second
	// backlog is how many changes wait to be merged. Beyond that everything is read.
	backlog = 256
)

// replica is how the set follows the store.
type replica struct {
	changes chan store.RevocationsChange
	// lock holds one token: whoever has it may sync. It is not a mutex, so that callers
	// can give up. It guards known.
	lock  chan struct{}
	known store.RevocationsVersion // all of it is in the set
}

func newReplica() replica {
	return replica{changes: make(chan store.RevocationsChange, backlog), lock: make(chan struct{}, 1)}
}

// Run follows the store and ends sessions until ctx is done. It returns nil, when its
// goroutines have ended; a Sessions that blocks keeps it. Call it once.
func (s *Set) Run(ctx context.Context) error {
	if s.config.Sessions == nil {
		return errors.New("revocation: Sessions was not set")
	}
	var parts sync.WaitGroup
	parts.Go(func() { s.watch(ctx) })
	parts.Go(func() { s.replicate(ctx) })
	parts.Go(func() { s.act(ctx) })
	parts.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
	defer cancel()
	if err := s.flush(last, false); err != nil {
		s.config.Logger.Warn("stopped with revocations that only this node knows of", "error", err)
	}
	return nil
}

// watch receives changes from the store.
func (s *Set) watch(ctx context.Context) {
	for {
		err := s.config.Store.WatchRevocations(ctx, func(c store.RevocationsChange) {
			select {
			case s.replica.changes <- c:
			default: // the version tells that changes were missed
			}
		})
		if !pause(ctx, time.Second) {
			return
		}
		// The store is polled without notices, too.
		s.config.Logger.Debug("notices of revocations were interrupted", "error", err)
	}
}

// replicate keeps the set and the store the same.
func (s *Set) replicate(ctx context.Context) {
	var failures int
	var away, expired, full, next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.replica.changes:
			if s.follow(ctx, c) {
				continue
			}
		case <-s.wakeSync:
		case <-time.After(time.Until(next)):
		}
		began := time.Now()
		if began.Sub(expired) >= expireEvery {
			s.expire()
			expired = began
		}
		err := s.sync(ctx)
		if err == nil {
			err = s.flush(ctx, began.Sub(full) < fullPause)
		}
		if errors.Is(err, store.ErrRevocationsFull) {
			if err = nil; began.Sub(full) >= fullPause {
				full = began
				s.config.Logger.Warn("the store is full of revocations; some, added while it was away, have effect on this node only")
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failures > 0 {
				s.config.Logger.Info("the revocations in the store are back", "away_seconds", time.Since(away).Seconds())
			}
			failures, next = 0, began.Add(pollEvery)
		default:
			if failures == 0 {
				away = began
				s.config.Logger.Warn("the revocations in the store cannot be read, or not written; those of other nodes are not learned",
					"loaded", s.Loaded(), "error", err)
			}
			next = time.Now().Add(min(maxRetry, minRetry<<min(failures, 10)))
			failures++
		}
		// A store that takes long to read is not read all the time.
		if !pause(ctx, min(2*time.Since(began), maxGap)) {
			return
		}
	}
}

// follow merges a change that the store has published, and reports whether the set is up to
// date afterwards, as far as the changes that have come tell.
func (s *Set) follow(ctx context.Context, c store.RevocationsChange) bool {
	if s.acquire(ctx) != nil {
		return true // ctx is done
	}
	defer s.release()
	complete := true
	for {
		s.merge(c.Changed, false)
		// Changes from before the last reading come late: the next one shows whether any
		// is missing.
		switch {
		case c.From == s.replica.known:
			s.reached(c.To)
			complete = true
		case c.To != s.replica.known:
			complete = false
		}
		select {
		case c = <-s.replica.changes:
		default:
			return complete
		}
	}
}

// sync merges what the store has, if it has changed.
func (s *Set) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	known := s.replica.known
	s.mu.Lock()
	if s.now() < s.expired { // the clock was set back, and what was dropped as over is not
		known, s.expired = store.RevocationsVersion{}, 0
	}
	s.mu.Unlock()
	all, version, err := s.config.Store.Revocations(ctx, known)
	if err != nil {
		return err
	}
	if version == known {
		return nil
	}
	s.merge(all, true)
	if !s.Loaded() {
		close(s.loaded)
		s.config.Logger.Info("the revocations were read", "revocations", len(all))
	}
	s.reached(version)
	return nil
}

// reached notes that all of a version is in the set. The lock of the replica is held.
func (s *Set) reached(version store.RevocationsVersion) {
	s.replica.known = version
	s.mu.Lock()
	s.reachedSeq = version.Seq
	s.mu.Unlock()
	signal(s.wakeAct)
}

func (s *Set) acquire(ctx context.Context) error {
	select {
	case s.replica.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Set) release() { <-s.replica.lock }

// flush puts what the store does not have there; onlyKnown leaves out what would need room.
func (s *Set) flush(ctx context.Context, onlyKnown bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var unsaved []store.Revocation
	s.mu.RLock()
	now := s.now()
	for e := range s.unsaved {
		if now < e.Until && (e.Version > 1 || !onlyKnown) && !e.adding {
			unsaved = append(unsaved, e.Revocation)
		}
	}
	s.mu.RUnlock()
	var full error
	for batch := range slices.Chunk(unsaved, mergeBatch) {
		err := s.putAll(ctx, batch)
		if errors.Is(err, store.ErrRevocationsFull) {
			full = err // the others may be lifts
		} else if err != nil {
			return err
		}
	}
	return full
}

// save puts one revocation, until a deadline. If that fails, replicate goes on with it.
func (s *Set) save(ctx context.Context, deadline time.Time, r store.Revocation) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	err := s.putAll(ctx, []store.Revocation{r})
	if err != nil {
		signal(s.wakeSync)
	}
	return err
}

// putAll puts revocations and notes that the store has them.
func (s *Set) putAll(ctx context.Context, revocations []store.Revocation) error {
	if err := s.config.Store.PutRevocations(ctx, revocations...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range revocations {
		if e := s.entries[revocations[i].ID]; e != nil {
			s.setStored(e, max(e.stored, revocations[i].Version))
		}
	}
	return nil
}

// pause waits for d, and reports whether ctx is not done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
