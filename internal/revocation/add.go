package revocation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// patience is how long Add waits for the store and for all nodes.
	patience = 900 * time.Millisecond
	// lookEvery is how often Add reads the progress.
	lookEvery = 50 * time.Millisecond
	// pageSize is the maximum number of revocations that List returns.
	pageSize = 200
)

// Add adds a revocation, and sets its ID, Since and Version. The revocation has effect on this node
// at once. Add puts it into the store and waits until all nodes have applied it, but no longer than
// 900 ms (the constant patience) for both. If the error is store.ErrUnsaved, the progress is that
// of this node. A *session.Error means that the revocation was refused. The end of ctx only ends
// the wait for the other nodes.
func (s *Set) Add(ctx context.Context, r store.Revocation) (store.Revocation, store.Progress, error) {
	deadline := time.Now().Add(patience)
	e, err := s.accept(&r)
	if err != nil {
		return r, store.Progress{}, err
	}
	s.log("added", &r)
	saved := make(chan error, 1)
	go func() { saved <- s.save(ctx, deadline, r) }()
	s.end([]*entry{e})
	s.mu.Lock()
	delete(s.ending, e)
	s.mu.Unlock()
	signal(s.wakeAct)
	err = <-saved
	full := errors.Is(err, store.ErrRevocationsFull)
	s.mu.Lock()
	if e.adding = false; full {
		s.remove(e)
	}
	s.mu.Unlock()
	switch {
	case full:
		s.log("refused, too many revocations", &r)
		return r, store.Progress{}, errFull
	case err != nil:
		return r, s.progressHere(e), fmt.Errorf("%w: %w", store.ErrUnsaved, err)
	}
	return r, s.await(ctx, e, deadline), nil
}

// accept checks a revocation, sets its ID, Since and Version, and adds it to the set.
func (s *Set) accept(r *store.Revocation) (*entry, error) {
	now := s.clock()
	r.ID, r.Since, r.Version, r.Lifted = rand.Text(), session.MilliOf(now), 1, false
	names := []string{r.Channel, r.User, r.Subject}
	switch {
	case r.App == "" || slices.ContainsFunc(names, func(name string) bool { return len(name) > store.MaxName }):
		return nil, session.Errorf(session.CodeBadRequest, "channel, user, subject: want at most %d bytes", store.MaxName)
	case r.Everybody():
		return nil, session.Errorf(session.CodeBadRequest, "nothing selected; give a channel, a user or a subject")
	case r.Until <= session.SecOf(now):
		return nil, session.Errorf(session.CodeBadRequest, "the end of the revocation is in the past")
	}
	s.mu.RLock()
	room := s.hasRoom(r.App)
	s.mu.RUnlock()
	if !room {
		s.expire()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasRoom(r.App) {
		return nil, errFull
	}
	e := s.put(r)
	e.adding = true
	s.ending[e] = s.reachedSeq
	return e, nil
}

// hasRoom reports whether the limits permit another revocation of the project. The caller
// holds mu.
func (s *Set) hasRoom(app string) bool {
	p := s.projects[app]
	return len(s.entries) < store.MaxRevocations && (p == nil || p.held < store.MaxRevocations/s.config.Projects)
}

// errFull refuses a revocation above the limits. Lifting other revocations makes no room,
// since lifted ones are kept too.
var errFull = &session.Error{
	Code: session.CodeUnavailable, RetryAfter: time.Minute,
	Message: "too many revocations: this project has its share of them; " +
		"wait until some are over, and use shorter ones, or wider ones in place of many",
}

// Lift ends the effect of a revocation, on this node at once, and returns the revocation. Lifting a
// revocation a second time is not an error. The error is store.ErrNoRevocation, store.ErrUnsaved,
// or a *session.Error if the revocation is not in the set and the store cannot be read.
func (s *Set) Lift(ctx context.Context, app, id string) (store.Revocation, error) {
	deadline := time.Now().Add(patience)
	e, err := s.find(ctx, app, id)
	if err != nil {
		return store.Revocation{}, err
	}
	s.mu.Lock()
	r := e.Revocation
	if !r.Lifted && s.entries[id] == e {
		r.Lifted, r.Version = true, r.Version+1
		s.put(&r)
		defer s.log("lifted", &r)
	}
	_, unsaved := s.unsaved[e]
	s.mu.Unlock()
	if !unsaved {
		return r, nil
	}
	if err := s.save(ctx, deadline, r); err != nil {
		return r, fmt.Errorf("%w: %w", store.ErrUnsaved, err)
	}
	return r, nil
}

// Get returns a project's revocation, if it is in effect, and its progress. Errors are as for
// Lift.
func (s *Set) Get(ctx context.Context, app, id string) (store.Revocation, store.Progress, error) {
	e, err := s.find(ctx, app, id)
	if err != nil {
		return store.Revocation{}, store.Progress{}, err
	}
	s.mu.RLock()
	r := e.Revocation
	s.mu.RUnlock()
	if r.Lifted {
		return r, store.Progress{}, store.ErrNoRevocation
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r, s.progress(ctx, e), nil
}

// find returns a project's entry. If the set has no such entry, find reads the store first,
// since another node may have added the revocation just now.
func (s *Set) find(ctx context.Context, app, id string) (*entry, error) {
	if e := s.lookUp(app, id); e != nil {
		return e, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.sync(ctx); err != nil {
		return nil, session.Errorf(session.CodeUnavailable,
			"Redis cannot be reached, so this node does not know whether the revocation exists; nothing was changed, try again")
	}
	if e := s.lookUp(app, id); e != nil {
		return e, nil
	}
	return nil, store.ErrNoRevocation
}

func (s *Set) lookUp(app, id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[id]; e != nil && e.App == app && s.now() < e.Until {
		return e
	}
	return nil
}

// List returns a page of those revocations of a project that are in effect. The page begins behind
// the id `after` and is in the order of ids. List also returns the value of `after` for the next
// page, which is "" at the end. A page before the end may have fewer revocations than pageSize,
// even none. The time that List takes does not depend on the number of all revocations. Before the
// node has read the store for the first time, List returns a *session.Error.
func (s *Set) List(app, after string) (page []store.Revocation, next string, err error) {
	if !s.Loaded() {
		return nil, "", session.ErrRevocationsUnknown
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.projects[app]
	if p == nil {
		return nil, "", nil
	}
	at, found := slices.BinarySearchFunc(p.byID, &entry{Revocation: store.Revocation{ID: after}}, byID)
	if found {
		at++
	}
	rest := p.byID[at:]
	if len(rest) > pageSize {
		rest = rest[:pageSize]
		next = rest[pageSize-1].ID
	}
	now := s.now()
	for _, e := range rest {
		if e.Standing(now) {
			page = append(page, e.Revocation)
		}
	}
	return page, next, nil
}
