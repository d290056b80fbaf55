package orders

import (
	"sync/atomic"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// How many orders one sort may make up, of the store.MaxOrders that are held in
// all. They are such that what is given all the time, for one session each, leaves
// room for the revocations that are to keep somebody out.
const (
	maxAsides  = store.MaxOrders / 4 // changes of role, and renewals
	maxSingles = store.MaxOrders / 2 // revocations by session alone
	// maxProject is for each project, where there are several.
	maxProject = store.MaxOrders / 2
)

// roomAfter is when to come back to a board or a book that is full. Room comes
// with time, at no time that is known.
const roomAfter = time.Minute

// held counts what is held by sort, that which was lifted included. Book.mu guards
// it.
type held struct {
	asides   int
	singles  int
	projects map[string]int // by App ID
}

// change counts an order that comes, by 1, or goes, by -1.
func (h *held) change(o *store.Order, by int) {
	switch {
	case aside(o):
		h.asides += by
	case single(o):
		h.singles += by
	}
	if h.projects[o.App] += by; h.projects[o.App] == 0 {
		delete(h.projects, o.App)
	}
}

// aside reports whether an order keeps nobody out.
func aside(o *store.Order) bool { return o.Kind == store.OrderRole || o.Kind == store.OrderRenew }

// single reports whether an order revokes one session by its name.
func single(o *store.Order) bool {
	return o.Kind == store.OrderRevoke && targetOf(o) == target{session: o.Session}
}

// room refuses an order of which there are too many. Lifting makes no room: those
// that were lifted are kept, too. Book.mu is held.
func (b *Book) room(o *store.Order) error {
	switch {
	case len(b.entries) >= store.MaxOrders:
		return noRoom("orders")
	case aside(o) && b.held.asides >= maxAsides:
		return noRoom("changes of role and renewals")
	case single(o) && b.held.singles >= maxSingles:
		return noRoom("revocations of one session each")
	case b.apps.several.Load() && b.held.projects[o.App] >= maxProject:
		return noRoom("orders of this project")
	}
	return nil
}

// noRoom is the refusal of an order of some sort.
func noRoom(sort string) *session.Error {
	e := session.Errorf(session.CodeUnavailable,
		"too many %s stand, or were lifted; wait until the time of some is over, and give shorter ones", sort)
	e.RetryAfter = roomAfter
	return e
}

// apps knows whether this node has seen more than one project, in orders or in
// look-ups. It is safe for concurrent use, and does not forget.
type apps struct {
	first   atomic.Pointer[string]
	several atomic.Bool
}

// saw notes a project.
func (a *apps) saw(app string) {
	if a.several.Load() {
		return
	}
	first := a.first.Load()
	if first == nil {
		name := app // so that only this one is kept
		if a.first.CompareAndSwap(nil, &name) {
			return
		}
		first = a.first.Load()
	}
	if *first != app {
		a.several.Store(true)
	}
}
