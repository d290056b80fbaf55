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
	pollEvery    = 500 * time.Millisecond // how often the store's version is read, since notices can be lost
	minRetry     = 100 * time.Millisecond // first pause after an error of the store; it doubles up to maxRetry
	maxRetry     = 2 * time.Second
	storeTimeout = 3 * time.Second        // timeout of a request that no caller waits for
	readTimeout  = time.Minute            // timeout for reading all revocations, which can take hundreds of requests
	flushTime    = time.Second            // maximum time of one flush, so that other nodes' changes are merged in between
	expireEvery  = 10 * time.Second       // how often revocations that have ended are removed
	fullPause    = time.Minute            // how long the node sends no new revocations to a store that was full
	maxGap       = 300 * time.Millisecond // maximum pause after a sync; the pause is twice the time that the sync took
	lastChance   = time.Second            // how long Run still tries to store unsaved revocations before it returns
	backlog      = 256                    // maximum number of changes that wait to be merged; if more come, all revocations are read again
)

// Run synchronises the set with the store, and ends the sessions that revocations match, until ctx
// is done. It must be called once, before the node has sessions.
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
		s.config.Logger.Warn("stopped with revocations that are not in Redis; they are lost", "error", err)
	}
}

// watch receives changes from the store.
func (s *Set) watch(ctx context.Context) {
	for {
		err := s.config.Store.WatchRevocations(ctx, func(c store.RevocationsChange) {
			select {
			case s.changes <- c:
			default: // the channel is full, so this change is lost; the method follow notices the gap by the next change's version
			}
		})
		if !pause(ctx, time.Second) {
			return
		}
		// No change is lost, since the store is also polled. So the log level is only debug.
		s.config.Logger.Debug("subscription to notices about revocations is interrupted", "error", err)
	}
}

// backoff computes the pause after an error of the store.
type backoff struct{ last time.Duration }

// after returns the pause before the next request to the store; 0 if err is nil.
func (b *backoff) after(err error) time.Duration {
	if err == nil {
		b.last = 0
	} else {
		b.last = min(maxRetry, max(minRetry, 2*b.last))
	}
	return b.last
}

type replicator struct {
	*Set
	next    time.Time // time of the next poll
	cleaned time.Time // when ended revocations were last removed
	full    time.Time // when the store was last found to be full
	retry   backoff
	away    time.Time // when the store began to fail; zero while it works
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

// wait waits for a reason to send a request to the store. It returns false when ctx is done.
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

// flushOrPause puts the revocations that the store lacks into the store. For the time fullPause
// after the store was found to be full, flushOrPause puts only lifted ones there.
func (r *replicator) flushOrPause(ctx context.Context, now time.Time) error {
	pausing := now.Sub(r.full) < fullPause
	err := r.flush(ctx, pausing)
	if !errors.Is(err, store.ErrRevocationsFull) {
		return err
	}
	if !pausing {
		r.full = now
		r.config.Logger.Warn("too many revocations for Redis; some that were added during its outage have effect on this node only")
	}
	return nil
}

// answered records whether the store worked, and sets the time of the next poll.
func (r *replicator) answered(began time.Time, err error) {
	log := r.config.Logger
	switch {
	case err == nil && !r.away.IsZero():
		log.Info("revocations are exchanged with Redis again", "away_seconds", time.Since(r.away).Seconds())
		r.away = time.Time{}
	case err != nil && r.away.IsZero():
		r.away = began
		log.Warn("revocations cannot be exchanged with Redis; those of other nodes have no effect here",
			"loaded", r.Loaded(), "error", err)
	}
	if wait := r.retry.after(err); wait > 0 {
		r.next = time.Now().Add(wait)
	} else {
		r.next = began.Add(pollEvery)
	}
}

// follow merges a published change, and the changes that wait after it. It reports whether
// the set is complete up to the last of these changes. For a change that is older than the
// last read of the store, follow returns false, which only causes another read. The caller
// has locked `syncing`.
func (s *Set) follow(c store.RevocationsChange) (current bool) {
	if c.From == s.known {
		s.merge(c.Changed, nextChange)
		s.reached(c.To)
	} else {
		s.merge(c.Changed, otherChange)
	}
	select {
	case next := <-s.changes:
		return s.follow(next)
	default:
		return c.To == s.known
	}
}

// sync reads and merges all revocations of the store if the store's version has changed. If it has
// not, sync finds the changes that the store had accepted and has lost.
func (s *Set) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := s.lockSync(ctx); err != nil {
		return err
	}
	defer s.unlockSync()
	select {
	case c := <-s.changes: // the published changes that wait may make the read below unnecessary
		s.follow(c)
	default:
	}
	s.mu.Lock()
	if s.now() < s.expired { // the clock was set back, so some removed revocations are in effect again, and all are read again
		s.known, s.expired = store.RevocationsVersion{}, 0
	}
	s.mu.Unlock()
	accepted := s.acceptedUnseen()
	all, later, version, err := s.config.Store.Revocations(ctx, s.known)
	if err != nil {
		return err
	}
	if version == s.known {
		// Any change before this read gave the store another version than `known`. So a change that
		// this node has not seen under `known` is lost.
		s.putAgain(accepted)
		return nil
	}
	s.merge(all, completeRead)
	s.merge(later, otherChange) // comes last, since completeRead marks entries that are not in `all` as unsaved
	if !s.Loaded() {
		close(s.loaded)
		s.config.Logger.Info("revocations loaded", "revocations", len(all)+len(later))
	}
	s.reached(version)
	return nil
}

// reached records that the set is complete up to a version. The caller has locked `syncing`.
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

// flush puts the revocations that the store lacks into the store. If `onlyKnown` is true, flush
// puts only lifted ones there, which need no room if they replace an older version in the store. It
// stops after flushTime, so that other nodes' changes need not wait, and then wakes the replicator,
// which calls flush again.
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
			full = err // the loop continues, since the store may still accept lifted revocations in the other batches
		} else if err != nil {
			return err
		}
	}
	return full
}

// save tries to put one revocation into the store before a deadline. If the store cannot be
// reached, the replicator tries again later. If the store is full, Add removes the
// revocation.
func (s *Set) save(ctx context.Context, deadline time.Time, r store.Revocation) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	err := s.putAll(ctx, []store.Revocation{r})
	if err != nil && !errors.Is(err, store.ErrRevocationsFull) {
		signal(s.wakeSync)
	}
	return err
}

// putAll puts revocations into the store, and records that the store has them.
func (s *Set) putAll(ctx context.Context, revocations []store.Revocation) error {
	if err := s.config.Store.PutRevocations(ctx, revocations...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range revocations {
		if e := s.entries[revocations[i].ID]; e != nil {
			s.setAccepted(e, revocations[i].Version)
		}
	}
	return nil
}

// pause waits for the duration d. It returns false if ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
