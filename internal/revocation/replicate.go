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
	pollEvery    = 500 * time.Millisecond // a change without a notice has effect within a second
	minRetry     = 100 * time.Millisecond // of a store that is away; doubled up to maxRetry
	maxRetry     = 2 * time.Second
	storeTimeout = 3 * time.Second // for a request that no caller waits for
	readTimeout  = time.Minute     // for all revocations: hundreds of requests
	flushTime    = time.Second     // of putting, before other nodes' changes are looked at
	expireEvery  = 10 * time.Second
	fullPause    = time.Minute            // in which a full store gets no new revocations
	maxGap       = 300 * time.Millisecond // after a sync, which is twice as long as the sync took
	lastChance   = time.Second            // for Run, once its context is done, to save what the store lacks
	backlog      = 256                    // changes that wait to be merged; if more come, all revocations are read again
)

// Run follows the store, and ends the sessions that revocations match, until ctx is done.
// Call it once, before there are sessions.
func (s *Set) Run(ctx context.Context, end EndSessions) {
	s.mu.Lock()
	s.endSessions = end
	s.mu.Unlock()
	var parts sync.WaitGroup
	parts.Go(func() { s.watch(ctx) })
	parts.Go(func() { (&replicator{Set: s}).run(ctx) })
	parts.Go(func() { s.act(ctx) })
	parts.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
	defer cancel()
	if err := s.flush(last, false); err != nil {
		s.config.Logger.Warn("stopped with revocations that only this node knows of", "error", err)
	}
}

// watch receives changes from the store.
func (s *Set) watch(ctx context.Context) {
	for {
		err := s.config.Store.WatchRevocations(ctx, func(c store.RevocationsChange) {
			select {
			case s.changes <- c:
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

// backoff is the wait before a store that failed is asked again.
type backoff struct{ last time.Duration }

// after returns the wait after an answer of the store; 0 if it was no error.
func (b *backoff) after(err error) time.Duration {
	if err == nil {
		b.last = 0
	} else {
		b.last = min(maxRetry, max(minRetry, 2*b.last))
	}
	return b.last
}

// replicator keeps the set and the store the same.
type replicator struct {
	*Set
	next    time.Time // of the next poll
	cleaned time.Time // when revocations that are over were last removed
	full    time.Time // when the store was found to be full
	retry   backoff
	away    time.Time // since when the store has failed; zero if it has not
}

func (r *replicator) run(ctx context.Context) {
	for r.wait(ctx) {
		began := time.Now()
		if began.Sub(r.cleaned) >= expireEvery {
			r.expire()
			r.cleaned = began
		}
		err := r.sync(ctx)
		if err == nil {
			err = r.flushOrPause(ctx, began)
		}
		if ctx.Err() == nil {
			r.answered(began, err)
		}
		// The pause grows with the time that a sync takes, so that a slow store is not overloaded.
		pause(ctx, min(2*time.Since(began), maxGap))
	}
}

// wait waits for a reason to ask the store. It returns false when ctx is done.
func (r *replicator) wait(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case c := <-r.changes:
			if r.lockSync(ctx) != nil {
				return false
			}
			current := r.follow(c)
			r.unlockSync()
			if current {
				continue
			}
		case <-r.wakeSync:
		case <-time.After(time.Until(r.next)):
		}
		return ctx.Err() == nil
	}
}

// flushOrPause puts into the store what it lacks. If it is full, only lifts are put there for
// fullPause.
func (r *replicator) flushOrPause(ctx context.Context, now time.Time) error {
	pausing := now.Sub(r.full) < fullPause
	err := r.flush(ctx, pausing)
	if !errors.Is(err, store.ErrRevocationsFull) {
		return err
	}
	if !pausing {
		r.full = now
		r.config.Logger.Warn("the store is full of revocations; some, added while it was away, have effect on this node only")
	}
	return nil
}

// answered notes whether the store could be used, and decides when it is asked again.
func (r *replicator) answered(began time.Time, err error) {
	log := r.config.Logger
	switch {
	case err == nil && !r.away.IsZero():
		log.Info("the revocations in the store are back", "away_seconds", time.Since(r.away).Seconds())
		r.away = time.Time{}
	case err != nil && r.away.IsZero():
		r.away = began
		log.Warn("the revocations in the store cannot be read, or not written; those of other nodes are not learned",
			"loaded", r.Loaded(), "error", err)
	}
	if wait := r.retry.after(err); wait > 0 {
		r.next = time.Now().Add(wait)
	} else {
		r.next = began.Add(pollEvery)
	}
}

// follow merges a change that the store has published, and those that wait. It reports
// whether the set has all of the version that the last one led to. For a change from before
// the last reading that is not known: the next change tells. syncing is held.
func (s *Set) follow(c store.RevocationsChange) (current bool) {
	s.merge(c.Changed, false)
	if c.From == s.known {
		s.reached(c.To)
	}
	select {
	case next := <-s.changes:
		return s.follow(next)
	default:
		return c.To == s.known
	}
}

// sync merges what the store has, if it has changed.
func (s *Set) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := s.lockSync(ctx); err != nil {
		return err
	}
	defer s.unlockSync()
	select {
	case c := <-s.changes: // what has come need not be read
		s.follow(c)
	default:
	}
	s.mu.Lock()
	if s.now() < s.expired { // the clock was set back, and what was dropped as over is not
		s.known, s.expired = store.RevocationsVersion{}, 0
	}
	s.mu.Unlock()
	all, version, err := s.config.Store.Revocations(ctx, s.known)
	if err != nil || version == s.known {
		return err
	}
	s.merge(all, true)
	if !s.Loaded() {
		close(s.loaded)
		s.config.Logger.Info("the revocations were read", "revocations", len(all))
	}
	s.reached(version)
	return nil
}

// reached notes that all of a version is in the set. syncing is held.
func (s *Set) reached(version store.RevocationsVersion) {
	s.known = version
	s.mu.Lock()
	s.reachedSeq = version.Seq
	s.mu.Unlock()
	signal(s.wakeAct)
}

func (s *Set) lockSync(ctx context.Context) error {
	select {
	case s.syncing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Set) unlockSync() { <-s.syncing }

// flush puts what the store does not have there; onlyKnown leaves out what would need room.
// It stops after flushTime, so that changes from other nodes need not wait, and has itself
// called again.
func (s *Set) flush(ctx context.Context, onlyKnown bool) error {
	began := time.Now()
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
		if time.Since(began) > flushTime {
			signal(s.wakeSync)
			break
		}
		put, cancel := context.WithTimeout(ctx, storeTimeout)
		err := s.putAll(put, batch)
		cancel()
		if errors.Is(err, store.ErrRevocationsFull) {
			full = err // the others may be lifts
		} else if err != nil {
			return err
		}
	}
	return full
}

// save puts one revocation, until a deadline. If that fails, the replicator goes on with it.
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
