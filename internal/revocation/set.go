package revocation

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Config is what a Set needs. All fields are required unless they say otherwise.
type Config struct {
	Store store.Revocations
	Nodes store.Nodes
	Node  string // unique for this process
	// Projects is how many projects share store.MaxRevocations. 0 means 1.
	Projects   int
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// EndSessions ends this node's open sessions for which match returns an id, and calls ended
// for each with that id and the last second at which its tokens work. It returns when they
// have ended, or after a moment if some are busy; ended may be called later.
type EndSessions func(match func(*session.Key) (id string), ended func(id string, accessEndsAt session.UnixSec))

// Set is one node's copy of the revocations. It is safe for concurrent
// use.
type Set struct {
	config  Config
	clock   func() time.Time // wall clock
	loaded  chan struct{}    // closed once the store was read
	replica replica

	wakeSync, wakeAct chan struct{} // there is something to do

	mu          sync.RWMutex
	endSessions EndSessions         // guarded by mu, as all below; nil before Run
	entries     map[string]*entry   // by id
	projects    projects            // by App ID
	earliest    session.UnixSec     // lower bound of the entries' Until
	expired     session.UnixSec     // highest Until of the entries that were removed as over
	unsaved     map[*entry]struct{} // whose version the store does not have
	unapplied   []*entry            // whose sessions are still to be ended
	ending      map[*entry]int64    // whose sessions Add is ending; the value of reachedSeq before
	reachedSeq  int64               // RevocationsVersion.Seq of replica.known
	unreported  map[*entry]struct{} // whose ended is to be written into the store
}

// entry is one revocation. All is guarded by Set.mu.
type entry struct {
	store.Revocation
	stored int64       // version that the store has, as far as this node knows; 0: none
	adding bool        // Add is putting it into the store, and removes it if it is refused
	ended  store.Ended // by this node
}

// New makes a Set. It is empty until Run is called.
func New(c Config) (*Set, error) {
	if c.Store == nil || c.Nodes == nil || c.Node == "" || c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("revocation: Store, Nodes, Node, Logger and Registerer are required")
	}
	c.Projects = max(1, c.Projects)
	s := &Set{
		config: c, clock: time.Now, loaded: make(chan struct{}),
		replica:  replica{changes: make(chan store.RevocationsChange, backlog), lock: make(chan struct{}, 1)},
		wakeSync: make(chan struct{}, 1), wakeAct: make(chan struct{}, 1),
		entries: make(map[string]*entry), projects: make(projects), earliest: math.MaxInt64,
		unsaved: make(map[*entry]struct{}), unreported: make(map[*entry]struct{}), ending: make(map[*entry]int64),
	}
	c.Registerer.MustRegister(newCollector(s))
	return s, nil
}

// Loaded reports whether the store was read at least once.
func (s *Set) Loaded() bool {
	select {
	case <-s.loaded:
		return true
	default:
		return false
	}
}

// Known is closed once the store was read.
func (s *Set) Known() <-chan struct{} { return s.loaded }

// Revoked reports whether a standing revocation matches a session, or a credential if only
// App and Subject are set.
func (s *Set) Revoked(k *session.Key) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.projects[k.App]
	return p != nil && p.match(k, s.now()) != nil
}

// now is the wall clock.
func (s *Set) now() session.UnixSec { return session.SecOf(s.clock()) }

// mergeBatch is how many copies are merged in one hold of Set.mu: a few milliseconds.
const mergeBatch = 256

// merge takes over copies of revocations from the store. all means that the store has no
// others: entries that are not among the copies will be put there again.
func (s *Set) merge(copies []store.Revocation, all bool) {
	changed, missing := s.compare(copies, all)
	slices.SortFunc(changed, func(a, b store.Revocation) int { return cmp.Compare(a.ID, b.ID) })
	for batch := range slices.Chunk(changed, mergeBatch) {
		news := s.mergeBatch(batch)
		for i := range news {
			if s.Loaded() { // at the start there may be many
				s.log("learned", &news[i])
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range missing {
		s.setStored(e, 0)
	}
	if !all {
		return
	}
	// The store may have lost data, and another node may have put the revocations back. What
	// this node has ended is written again: nobody else knows it.
	for _, e := range s.entries {
		if e.ended.Sessions > 0 {
			s.unreported[e] = struct{}{}
		}
	}
}

// compare returns the copies that differ from what is in the set, and what is in the set
// but not among all copies.
func (s *Set) compare(copies []store.Revocation, all bool) (changed []store.Revocation, missing []*entry) {
	seen := make(map[string]struct{})
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range copies {
		r := &copies[i]
		if e := s.entries[r.ID]; e == nil || e.Version != r.Version || e.stored != r.Version {
			changed = append(changed, *r)
		}
		if all {
			seen[r.ID] = struct{}{}
		}
	}
	if all {
		for id, e := range s.entries {
			if _, ok := seen[id]; !ok {
				missing = append(missing, e)
			}
		}
	}
	return changed, missing
}

// mergeBatch takes over some copies, and returns those that are news.
func (s *Set) mergeBatch(copies []store.Revocation) (news []store.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for i := range copies {
		r := &copies[i]
		if r.Until <= now {
			s.expired = max(s.expired, r.Until)
			continue
		}
		e := s.entries[r.ID]
		if e == nil || e.Version < r.Version {
			e = s.put(r)
			news = append(news, *r)
			if !r.Lifted {
				s.unapplied = append(s.unapplied, e)
			}
		}
		s.setStored(e, r.Version)
	}
	return news
}

// put adds a revocation, or replaces its older version. The store does not have it yet.
// mu is held.
func (s *Set) put(r *store.Revocation) *entry {
	e := s.entries[r.ID]
	if e == nil {
		e = &entry{Revocation: *r}
		s.entries[r.ID] = e
		s.earliest = min(s.earliest, r.Until)
		s.projects.of(e.App).held++
	} else {
		s.projects.of(e.App).remove(e)
		e.Lifted, e.Version = r.Lifted, r.Version // all else stays
	}
	if !e.Lifted {
		s.projects.of(e.App).add(e)
	}
	s.setStored(e, e.stored)
	return e
}

// remove removes an entry, unless it is gone. mu is held.
func (s *Set) remove(e *entry) {
	if s.entries[e.ID] != e {
		return
	}
	p := s.projects[e.App]
	p.remove(e)
	if p.held--; p.held == 0 {
		delete(s.projects, e.App)
	}
	delete(s.entries, e.ID)
	delete(s.unsaved, e)
	delete(s.unreported, e)
}

// setStored notes the version that the store has of an entry. mu is held.
func (s *Set) setStored(e *entry, version int64) {
	e.stored = version
	switch {
	case s.entries[e.ID] != e: // it was removed meanwhile
	case e.stored < e.Version:
		s.unsaved[e] = struct{}{}
	default:
		delete(s.unsaved, e)
	}
}

// expire removes what is over.
func (s *Set) expire() {
	now := s.now()
	s.mu.Lock()
	nothing := now < s.earliest
	if !nothing {
		s.earliest = math.MaxInt64 // until it is known
	}
	s.mu.Unlock()
	if nothing {
		return
	}
	over, earliest := s.over(now)
	for batch := range slices.Chunk(over, mergeBatch) {
		s.mu.Lock()
		for _, e := range batch {
			s.remove(e)
			s.expired = max(s.expired, e.Until)
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.earliest = min(s.earliest, earliest)
	s.mu.Unlock()
}

// over returns the entries that are over, and when the next one will be.
func (s *Set) over(now session.UnixSec) (over []*entry, next session.UnixSec) {
	next = math.MaxInt64
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.entries {
		if e.Until <= now {
			over = append(over, e)
		} else {
			next = min(next, e.Until)
		}
	}
	return over, next
}

// log writes one line for a change. Whom a revocation matches is personal data, and
// only logged at debug level.
func (s *Set) log(change string, r *store.Revocation) {
	l := s.config.Logger.With("revocation", r.ID, "app_id", r.App)
	l.Info("the revocations have changed", "change", change, "lifted", r.Lifted)
	l.Debug("what that revocation matches", "channel", r.Channel, "user", r.User, "subject", r.Subject)
}

// signal wakes the goroutine that waits for c, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
