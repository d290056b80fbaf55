package store

import (
	"context"
	"maps"
	"math"
	"strconv"
	"sync"

	"refresher/internal/session"
)

var _ Revocations = (*Memory)(nil)

// memoryRevocations is the copy of the revocations in the embedded store. Its mutex is the last in
// the lock order: no other mutex of the store is locked while it is held.
type memoryRevocations struct {
	mu       sync.Mutex
	version  RevocationsVersion // guarded by mu, like all fields below
	all      map[string]storedRevocation
	ended    map[string]storedEnded
	earliest session.UnixSec // no revocation ends before this time
	losses   int             // how often Lose has emptied the store
	watchers map[*func(RevocationsChange)]struct{}
}

type storedRevocation struct {
	Revocation
	seq int64
}

type storedEnded struct {
	until  session.UnixSec
	byNode map[string]Ended
}

// reset empties the store, and gives its version a new Name, so that no earlier version is equal to
// it.
func (m *memoryRevocations) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.losses++
	m.version = RevocationsVersion{Name: strconv.Itoa(m.losses)}
	m.all, m.ended, m.earliest = make(map[string]storedRevocation), make(map[string]storedEnded), math.MaxInt64
}

// expire removes the revocations whose time is over, and the counts of the sessions that each of
// them has ended. The caller holds mu.
func (m *memoryRevocations) expire(now session.UnixSec) {
	if now < m.earliest {
		return
	}
	maps.DeleteFunc(m.all, func(_ string, r storedRevocation) bool { return r.Until <= now })
	maps.DeleteFunc(m.ended, func(_ string, e storedEnded) bool { return e.until <= now })
	m.earliest = math.MaxInt64
	for _, r := range m.all {
		m.earliest = min(m.earliest, r.Until)
	}
	for _, e := range m.ended {
		m.earliest = min(m.earliest, e.until)
	}
}

// PutRevocations implements Revocations.
func (m *Memory) PutRevocations(_ context.Context, revocations ...Revocation) (err error) {
	s, now := &m.revocations, m.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(session.SecOf(now))
	change := RevocationsChange{From: s.version, To: s.version}
	change.To.Seq = max(s.version.Seq+1, now.UnixMilli())
	for _, r := range revocations {
		old, known := s.all[r.ID]
		switch {
		case r.Until <= session.SecOf(now), known && old.Version >= r.Version:
		case !known && len(s.all) >= MaxRevocations:
			err = ErrRevocationsFull
		default:
			s.all[r.ID] = storedRevocation{r, change.To.Seq}
			s.earliest = min(s.earliest, r.Until)
			change.Changed = append(change.Changed, r)
		}
	}
	if len(change.Changed) > 0 {
		s.version = change.To
		for changed := range s.watchers {
			(*changed)(change)
		}
	}
	return err
}

// Revocations implements Revocations.
func (m *Memory) Revocations(_ context.Context, known RevocationsVersion) (all, _ []Revocation, _ RevocationsVersion, _ error) {
	s := &m.revocations
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == known {
		return nil, nil, known, nil
	}
	s.expire(session.SecOf(m.now()))
	for _, r := range s.all {
		all = append(all, r.Revocation)
	}
	return all, nil, s.version, nil
}

// WatchRevocations implements Revocations.
func (m *Memory) WatchRevocations(ctx context.Context, changed func(RevocationsChange)) error {
	s := &m.revocations
	s.mu.Lock()
	if s.watchers == nil {
		s.watchers = make(map[*func(RevocationsChange)]struct{})
	}
	s.watchers[&changed] = struct{}{}
	changed(RevocationsChange{})
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, &changed)
	return nil
}

// PutEnded implements Revocations.
func (m *Memory) PutEnded(_ context.Context, r Revocation, node string, e Ended) error {
	s := &m.revocations
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(session.SecOf(m.now()))
	if s.ended[r.ID].byNode == nil {
		s.ended[r.ID] = storedEnded{r.Until, make(map[string]Ended)}
		s.earliest = min(s.earliest, r.Until)
	}
	s.ended[r.ID].byNode[node] = e
	return nil
}

// RevocationProgress implements Revocations.
func (m *Memory) RevocationProgress(_ context.Context, id string) (RevocationProgress, error) {
	s := &m.revocations
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(session.SecOf(m.now()))
	return RevocationProgress{Seq: s.all[id].seq, Ended: maps.Clone(s.ended[id].byNode)}, nil
}
