package revocation

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Config configures a Set.
type Config struct {
	Store      store.Revocations
	Nodes      store.Nodes
	Node       string // the node's name, which no other process may have
	Projects   int    // how many projects share store.MaxRevocations; 0 means 1
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// EndSessions ends each of this node's open sessions for which the function `match` returns
// the id of a revocation. It calls the function `ended` with that id and the last second at
// which the session's tokens work. It returns when all these sessions have ended, or after a
// short time if some are locked. When a locked session ends later, it calls `ended` then.
type EndSessions func(match func(*session.ResumeClaims) (id string), ended func(id string, accessEndsAt session.UnixSec))

// Set is one node's copy of the revocations. It is safe for concurrent use.
type Set struct {
	config  Config
	clock   func() time.Time // wall clock
	loaded  chan struct{}    // closed once the store was read
	changes chan store.RevocationsChange

	wakeSync, wakeAct chan struct{} // signals that wake the replicator and the method act

	// syncing is a mutex whose Lock can be cancelled: it contains an element while it is
	// locked. It guards the field `known`, and is held during a sync.
	syncing chan struct{}
	known   store.RevocationsVersion // newest version of the store up to which the set is complete

	mu          sync.RWMutex
	endSessions EndSessions         // guarded by mu, like all fields below; nil before Run
	entries     map[string]*entry   // by id
	projects    projects            // by App ID
	expired     session.UnixSec     // the highest Until of all entries that were removed after their end
	unsaved     map[*entry]struct{} // entries whose newest version is not in the store
	unseen      map[*entry]struct{} // entries whose `stored` is higher than `seen`: the store accepted them, and may lose them in a failover
	unapplied   []*entry            // new entries; the method act must end the sessions that they match
	ending      map[*entry]int64    // entries whose sessions Add is ending now, with the value of reachedSeq when Add began
	reachedSeq  int64               // RevocationsVersion.Seq of the version in the field `known`
	unreported  map[*entry]struct{} // entries whose count of ended sessions must be written into the store
}

// entry is one revocation in the set. All fields are guarded by Set.mu.
type entry struct {
	store.Revocation
	stored int64       // the store's version of the revocation, as far as this node knows; 0 means none
	seen   int64       // the store's version of the revocation when the store had the version `known`; 0 means none
	again  int         // how often putAgain has marked the entry as unsaved since setSeen was called
	next   time.Time   // when putAgain may mark the entry again
	adding bool        // Add is putting the revocation into the store, and removes it if the store refuses it
	ended  store.Ended // count of the sessions that this node has ended
}

// New returns a Set, which is empty until Run is called.
func New(c Config) *Set {
	c.Projects = max(1, c.Projects)
	s := &Set{
		config: c, clock: time.Now, loaded: make(chan struct{}),
		changes: make(chan store.RevocationsChange, backlog), syncing: make(chan struct{}, 1),
		wakeSync: make(chan struct{}, 1), wakeAct: make(chan struct{}, 1),
		entries: make(map[string]*entry), projects: make(projects),
		unsaved: make(map[*entry]struct{}), unseen: make(map[*entry]struct{}), unreported: make(map[*entry]struct{}), ending: make(map[*entry]int64),
	}
	auto := promauto.With(c.Registerer)
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_revocations", Help: "Revocations in force, in this node's copy.",
	}, s.reading(func() (standing int) {
		for _, p := range s.projects {
			standing += len(p.byID)
		}
		return standing
	}))
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_revocations_unsaved", Help: "Changes that are not in Redis yet: revocations that were added or lifted.",
	}, s.reading(func() int { return len(s.unsaved) }))
	return s
}

// reading wraps the function that computes a metric's value, so that it is called under mu.
func (s *Set) reading(value func() int) func() float64 {
	return func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return float64(value())
	}
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

// Revoked reports whether a revocation that is in effect matches a session, or a credential if
// only App and Subject are set.
func (s *Set) Revoked(k *session.ResumeClaims) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.projects[k.App]
	return p != nil && p.match(k, s.now()) != nil
}

// now returns the time of the wall clock.
func (s *Set) now() session.UnixSec { return session.SecOf(s.clock()) }

// mergeBatch is the number of revocations that are merged while Set.mu is locked once. That
// takes a few milliseconds.
const mergeBatch = 256

// origin says where copies of revocations come from.
type origin int

const (
	// completeRead: the copies are all revocations that the store had in the version that becomes
	// `known`. Entries that are not among them are put into the store again.
	completeRead origin = iota
	// nextChange: the copies come in a notice of the change that follows the version in the field
	// `known`.
	nextChange
	// otherChange: the copies come in another notice, or changed while the store was read. The store
	// may have lost the change meanwhile.
	otherChange
)

// merge merges copies of revocations from the store.
func (s *Set) merge(copies []store.Revocation, from origin) {
	// The copies are sorted by id, since insertion into byID is cheap in that order.
	copies = slices.SortedFunc(slices.Values(copies), func(a, b store.Revocation) int { return cmp.Compare(a.ID, b.ID) })
	for batch := range slices.Chunk(copies, mergeBatch) {
		news := s.mergeBatch(batch, from)
		for i := range news {
			if s.Loaded() { // changes before the first complete read are not logged, since there may be many
				s.log("learned", &news[i])
			}
		}
	}
	if from != completeRead {
		return
	}
	stored := make(map[string]struct{}, len(copies))
	for i := range copies {
		stored[copies[i].ID] = struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if _, ok := stored[id]; !ok {
			s.setSeen(e, 0)
		}
	}
	s.reportAgain()
}

// reportAgain must be called if the store may have lost data. Another node may have restored the
// revocations. But only this node knows how many sessions it has ended, so it writes its counts
// again. The caller holds mu.
func (s *Set) reportAgain() {
	for _, e := range s.entries {
		if e.ended.Sessions > 0 {
			s.unreported[e] = struct{}{}
		}
	}
	signal(s.wakeAct)
}

// mergeBatch merges some copies, and returns the new ones.
func (s *Set) mergeBatch(copies []store.Revocation, from origin) (news []store.Revocation) {
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
		if from == otherChange {
			s.setAccepted(e, r.Version)
		} else {
			s.setSeen(e, r.Version)
		}
	}
	return news
}

// put adds a revocation, or replaces an older version of it. The store does not have this
// version yet. The caller holds mu.
func (s *Set) put(r *store.Revocation) *entry {
	e := s.entries[r.ID]
	if e == nil {
		e = &entry{Revocation: *r}
		s.entries[r.ID] = e
		s.projects.of(e.App).held++
	} else {
		s.projects.of(e.App).remove(e)
		e.Lifted, e.Version = r.Lifted, r.Version // only these fields of a revocation can change
	}
	if !e.Lifted {
		s.projects.of(e.App).add(e)
	}
	s.setStored(e, e.stored)
	return e
}

// remove removes an entry, if the set contains it. The caller holds mu.
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
	delete(s.unseen, e)
	delete(s.unreported, e)
}

// setStored records the store's version of an entry. The caller holds mu.
func (s *Set) setStored(e *entry, version int64) {
	e.stored = version
	switch {
	case s.entries[e.ID] != e: // the entry was removed meanwhile
	case e.stored < e.Version:
		s.unsaved[e] = struct{}{}
	default:
		delete(s.unsaved, e)
	}
}

// setSeen records the version that an entry has in the store; 0 if the store does not have the entry.
// The caller holds mu.
func (s *Set) setSeen(e *entry, version int64) {
	s.setStored(e, version)
	e.seen, e.again, e.next = version, 0, time.Time{}
	delete(s.unseen, e)
}

// setAccepted records that the store has accepted a version of an entry, and may have lost it
// meanwhile. The caller holds mu.
func (s *Set) setAccepted(e *entry, version int64) {
	s.setStored(e, max(e.stored, version))
	if e.stored > e.seen {
		s.unseen[e] = struct{}{}
	}
}

// acceptedUnseen returns the entries that the store has accepted and that this node has not seen
// there, with the accepted versions.
func (s *Set) acceptedUnseen() map[*entry]int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	versions := make(map[*entry]int64, len(s.unseen))
	for e := range s.unseen {
		versions[e] = e.stored
	}
	return versions
}

// putAgain marks entries as unsaved whose accepted versions the store has lost: it failed over to a
// replica that had not received them. The same entry is marked again after a pause that doubles,
// since a store whose clock is ahead accepts a revocation that has ended by its clock, but never
// stores it.
func (s *Set) putAgain(accepted map[*entry]int64) {
	now, lost := time.Now(), false
	s.mu.Lock()
	defer s.mu.Unlock()
	for e, version := range accepted {
		if _, unseen := s.unseen[e]; !unseen || e.stored != version || now.Before(e.next) {
			continue
		}
		delete(s.unseen, e)
		e.next = now.Add(pollEvery << min(e.again, 10))
		e.again++
		s.setStored(e, e.seen)
		lost = true
	}
	if lost {
		s.reportAgain()
	}
}

// expire removes the revocations that have ended.
func (s *Set) expire() {
	now := s.now()
	var over []*entry
	s.mu.RLock()
	for _, e := range s.entries {
		if e.Until <= now {
			over = append(over, e)
		}
	}
	s.mu.RUnlock()
	for batch := range slices.Chunk(over, mergeBatch) {
		s.mu.Lock()
		for _, e := range batch {
			s.remove(e)
			s.expired = max(s.expired, e.Until)
		}
		s.mu.Unlock()
	}
}

// log writes one line for a change. The names that a revocation matches are personal data, and
// are logged at debug level only.
func (s *Set) log(change string, r *store.Revocation) {
	l := s.config.Logger.With("revocation", r.ID, "app_id", r.App)
	l.Info("revocation changed", "change", change, "lifted", r.Lifted)
	l.Debug("revocation matches", "channel", r.Channel, "user", r.User, "subject", r.Subject)
}

// signal wakes the goroutine that receives from c. If that goroutine is busy, the signal waits
// in c.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
