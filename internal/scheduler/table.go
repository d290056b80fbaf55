package scheduler

import (
	"cmp"
	"container/list"
	"sync"
	"time"

	"refresher/internal/session"
)

// table holds the sessions of the node and the queue, under one lock. The lock is a leaf: it
// may be taken while an entry's lock is held, and no call that can block is made under it.
//
// The table keeps at most limit sessions, and prefers attached ones. A client can create any
// number of detached sessions, by joining and disconnecting, and each stays until its tokens
// expire. Removing one does little harm, since its key opens it anew. So the session that
// has been detached for longest is removed first; a renewal over HTTP counts as being
// connected. Adopted sessions are not counted: they are overdue and end within minutes.
type table struct {
	limit int           // 0: none
	wake  chan struct{} // tells Run that there is a deadline before armed

	mu       sync.Mutex
	open     map[string]*entry // by id
	ended    map[string]*entry // ended, until the store has the end and its event is delivered
	queue    queue
	armed    time.Duration // the next deadline that Run knows of
	detached list.List     // the detached sessions, the longest detached first, without adopted ones
	adopted  int           // number of adopted sessions
}

// slot holds the table's data about one session. It is guarded by the table's lock.
type slot struct {
	detached    *list.Element       // nil: it is not in table.detached
	certificate session.Fingerprint // that signed the client's tokens
	position
	adopted bool // taken over from a dead node, and its client has not come back yet
	atRisk  bool // attached, and the newest tokens are not confirmed
}

func newTable(limit int) *table {
	return &table{limit: limit, wake: make(chan struct{}, 1), open: make(map[string]*entry), ended: make(map[string]*entry)}
}

// join adds a new session, unless there are limit attached sessions.
func (t *table) join(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 && len(t.open)-t.adopted-t.detached.Len() >= t.limit {
		return false
	}
	t.open[e.claims.Session] = e
	return true
}

// insert adds a session that was restored from a record or a key. over is the ended entry of
// the same session that the caller found, nil for none. insert returns false if the session
// is open meanwhile, or has another ended entry.
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

// find returns the open and the ended entry of this session; nil if there is none. There can
// be both, since the key of an expired session opens it anew.
func (t *table) find(id string) (open, ended *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[id], t.ended[id]
}

// get returns the open entry of this session, or else the ended one, or nil.
func (t *table) get(id string) *entry { return cmp.Or(t.find(id)) }

// all returns the open sessions that match; a nil match takes every one.
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

// place updates an open session's position in the queue and in the list of detached sessions.
// It reports whether the table is over its limit. e's lock is held.
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

// remove removes a session that has ended from the open ones. If remember is true, the table
// keeps it among the ended ones, so that its keys are refused, until forget is called.
func (t *table) remove(e *entry, remember bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
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

// forget removes a session from the ended ones. From then on the store refuses its keys.
func (t *table) forget(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended[e.claims.Session] == e {
		delete(t.ended, e.claims.Session)
	}
}

// clearAdopted makes an adopted session an ordinary one, because its client is here.
func (t *table) clearAdopted(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setAdopted(e, false)
}

// setAdopted sets whether a session is adopted. t.mu is held.
func (t *table) setAdopted(e *entry, is bool) {
	switch {
	case is && !e.slot.adopted:
		t.adopted++
	case !is && e.slot.adopted:
		t.adopted--
	}
	e.slot.adopted = is
}

// setDetached adds a session to the end of the list of detached ones, or removes it. t.mu is
// held.
func (t *table) setDetached(e *entry, is bool) {
	switch {
	case is && e.slot.detached == nil:
		e.slot.detached = t.detached.PushBack(e)
	case !is && e.slot.detached != nil:
		t.detached.Remove(e.slot.detached)
		e.slot.detached = nil
	}
}

// postpone moves a detached session to the end of the list, since its client renews over
// HTTP.
func (t *table) postpone(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.slot.detached != nil {
		t.detached.MoveToBack(e.slot.detached)
	}
}

// crowded reports whether a detached session must be removed to keep the limit. t.mu is held.
func (t *table) crowded() bool {
	return t.limit > 0 && len(t.open)-t.adopted > t.limit && t.detached.Len() > 0
}

// surplus returns the session that must be removed to keep the limit, locked, or nil. It skips
// sessions whose lock is taken, since their clients are coming back, except held, which the
// caller has locked.
func (t *table) takeSurplus(held *entry) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.crowded() {
		return nil
	}
	for place := t.detached.Front(); place != nil; place = place.Next() {
		if e, ok := place.Value.(*entry); ok && (e == held || e.TryLock()) { // TryLock does not wait, so the lock order does not apply
			return e
		}
	}
	return nil
}

// peek returns how many sessions are due, and when the next one will be. From then on place
// wakes Run only for a session that is due before that.
func (t *table) peek(now time.Duration) (due int, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	due, t.armed = t.queue.Peek(now)
	return due, t.armed
}

// next removes and returns the most urgent due session of the queue; nil if none is due.
func (t *table) next(now time.Duration) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.Next(now)
}

// behind returns how late the most overdue session is.
func (t *table) behind(now time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queue.Behind(now)
}

// each calls f with the slot and the times of every session in the queue.
func (t *table) each(f func(s *slot, due, expires time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue.Each(func(e *entry, due, expires time.Duration) { f(&e.slot, due, expires) })
}
