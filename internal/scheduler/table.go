package scheduler

import (
	"cmp"
	"container/list"
	"sync"
	"time"

	"refresher/internal/session"
)

// table holds the sessions of the node and the queue, under one lock. The table's lock may be taken
// while an entry's lock is held. While the table's lock is held, no other lock is taken and no
// blocking call is made.
//
// The table keeps at most limit sessions, and removes detached ones to keep the limit. This bounds
// the memory: by joining and disconnecting, a client can create any number of detached sessions,
// and each stays until its tokens expire. The removal does little harm, since the resume key can
// open the session again. The session that has been detached for longest is removed first; a
// renewal over HTTP counts as a connection. Adopted sessions are not counted, since they are
// overdue and end within minutes.
type table struct {
	// limit is the maximum number of sessions; 0 means unlimited.
	limit int
	// A signal in wake tells Run that a deadline is earlier than the time `armed`.
	wake chan struct{}

	mu sync.Mutex
	// open and ended contain the sessions by id. An ended session stays until the store has its end
	// and its last event is delivered. A session that takeSurplus returned is in the map ended before
	// it ends.
	open  map[string]*entry
	ended map[string]*entry
	queue queue
	// armed is the deadline until which Run sleeps.
	armed time.Duration
	// detached contains the detached sessions that are not adopted. The first one has been detached
	// for longest.
	detached list.List
	// adopted is the number of adopted sessions.
	adopted int
}

// slot holds the table's data about one session, guarded by the table's lock.
type slot struct {
	// detached is the session's element in table.detached, or nil if it is not there.
	detached *list.Element
	// certificate is the certificate that signed the client's tokens.
	certificate session.Fingerprint
	position
	// adopted is true if this node took the session over from a dead node, and its client has not
	// returned yet.
	adopted bool
	// atRisk is true if the session is attached and has an unconfirmed bundle.
	atRisk bool
}

func newTable(limit int) *table {
	return &table{limit: limit, wake: make(chan struct{}, 1), open: make(map[string]*entry), ended: make(map[string]*entry)}
}

// join adds a new session. It returns false if limit sessions are attached.
func (t *table) join(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 && len(t.open)-t.adopted-t.detached.Len() >= t.limit {
		return false
	}
	t.open[e.claims.Session] = e
	return true
}

// insert adds a session that was restored from a record or a key. The argument `over` is the
// session's ended entry as the caller found it, or nil. insert returns false if another goroutine
// has inserted the session since, or if its ended entry is no longer `over`.
func (t *table) insert(e, over *entry, adopted bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[e.claims.Session] != nil || t.ended[e.claims.Session] != over {
		return false
	}
	t.open[e.claims.Session] = e
	t.setAdopted(e, adopted)
	return true
}

// find returns the open and the ended entry of a session; nil for an entry that does not exist.
// Both exist if the session expired and its key has opened it again.
func (t *table) find(id string) (open, ended *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[id], t.ended[id]
}

// get returns the open entry of a session, otherwise its ended entry, or nil if it has none.
func (t *table) get(id string) *entry { return cmp.Or(t.find(id)) }

// all returns the open sessions for which match returns true, or all if match is nil.
func (t *table) all(match func(*entry) bool) []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := make([]*entry, 0, len(t.open))
	for _, e := range t.open {
		if match == nil || match(e) {
			found = append(found, e)
		}
	}
	return found
}

// place updates an open session's place in the queue and in the list of detached sessions. It
// reports whether the table now has more sessions than its limit. The caller holds e's lock.
func (t *table) place(e *entry) (crowded bool) {
	state, due, expires, certificate := e.session.State(), e.session.Deadline(), e.session.HeldExpires(), e.session.Certificate()
	t.mu.Lock()
	defer t.mu.Unlock()
	e.slot.atRisk = state == session.Attached && e.session.Unconfirmed()
	e.slot.certificate = certificate
	t.setDetached(e, state == session.Detached && !e.slot.adopted)
	t.queue.Set(e, due, expires)
	if due < t.armed {
		t.armed = due
		wake(t.wake)
	}
	return t.crowded()
}

// remove removes a session, which has ended, from the open ones. If remember is true, the session
// becomes one of the ended ones, so that its keys are refused, until forget is called.
func (t *table) remove(e *entry, remember bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(e, remember)
}

// drop is remove for a caller that holds t.mu.
func (t *table) drop(e *entry, remember bool) {
	if t.open[e.claims.Session] != e {
		return
	}
	delete(t.open, e.claims.Session)
	t.queue.Remove(e)
	t.setDetached(e, false)
	t.setAdopted(e, false)
	if remember {
		t.ended[e.claims.Session] = e
	}
}

// forget removes a session from the ended ones. From then on the store, which has the session's end,
// refuses its resume keys.
func (t *table) forget(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended[e.claims.Session] == e {
		delete(t.ended, e.claims.Session)
	}
}

// clearAdopted marks an adopted session as an ordinary one, because its client has returned.
func (t *table) clearAdopted(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setAdopted(e, false)
}

// setAdopted sets whether a session counts as adopted. The caller holds t.mu.
func (t *table) setAdopted(e *entry, is bool) {
	switch {
	case is && !e.slot.adopted:
		t.adopted++
	case !is && e.slot.adopted:
		t.adopted--
	}
	e.slot.adopted = is
}

// setDetached adds a session to the end of the list of detached ones, or removes it from the list.
// The caller holds t.mu.
func (t *table) setDetached(e *entry, is bool) {
	switch {
	case is && e.slot.detached == nil:
		e.slot.detached = t.detached.PushBack(e)
	case !is && e.slot.detached != nil:
		t.detached.Remove(e.slot.detached)
		e.slot.detached = nil
	}
}

// postpone moves a detached session to the end of the list of detached ones, because its client has
// renewed over HTTP.
func (t *table) postpone(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.slot.detached != nil {
		t.detached.MoveToBack(e.slot.detached)
	}
}

// crowded reports whether a detached session must be removed to keep the limit. The caller holds
// t.mu.
func (t *table) crowded() bool {
	return t.limit > 0 && len(t.open)-t.adopted > t.limit && t.detached.Len() > 0
}

// takeSurplus returns a session that the caller must end to keep the limit, locked, or nil. It has
// already removed the session from the open ones, as remove does, so that a concurrent call does not
// count the session.
//
// takeSurplus skips sessions that are locked, since their clients may be returning. It does not skip
// the entry `held`, whose lock the caller holds.
func (t *table) takeSurplus(held *entry) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.crowded() {
		return nil
	}
	for place := t.detached.Front(); place != nil; place = place.Next() {
		// TryLock never waits, so the table's lock may be held here.
		if e, ok := place.Value.(*entry); ok && (e == held || e.TryLock()) {
			t.drop(e, true)
			return e
		}
	}
	return nil
}

// peek returns how many sessions are due, and when the next one will be due. After a call of peek,
// place wakes Run only for a session that is due before the returned time.
func (t *table) peek(now time.Duration) (due int, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	due, t.armed = t.queue.Peek(now)
	return due, t.armed
}

// next removes the most urgent due session from the queue and returns it, or nil if none is due.
func (t *table) next(now time.Duration) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.Next(now)
}

// behind returns how long the most overdue session has been due.
func (t *table) behind(now time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.Behind(now)
}

// each calls f for every session in the queue.
func (t *table) each(f func(s *slot, due, expires time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue.Each(func(e *entry, due, expires time.Duration) { f(&e.slot, due, expires) })
}
