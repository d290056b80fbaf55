package orders

import (
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
)

// roomAfter is when to come back to a board or a book that is full. Room comes
// with time, at no time that is known.
const roomAfter = time.Minute

// quota bounds the orders of one sort. Half of the limit is divided into equal shares,
// one reserved for each project; the other half is first come, first served. So a project
// that gives no orders yet still has its share. Book.mu guards it.
type quota struct {
	sort   string         // as a refusal names it
	share  int            // of each project
	common int            // the rest of the limit, for all projects
	held   map[string]int // orders, by App ID
	beyond int            // orders in excess of their projects' shares
}

func newQuota(sort string, limit, projects int) *quota {
	share := limit / (2 * projects)
	return &quota{sort: sort, share: share, common: limit - projects*share, held: make(map[string]int)}
}

// add counts an order that comes.
func (q *quota) add(app string) {
	if q.held[app]++; q.held[app] > q.share {
		q.beyond++
	}
}

// remove counts an order that goes.
func (q *quota) remove(app string) {
	if q.held[app] > q.share {
		q.beyond--
	}
	if q.held[app]--; q.held[app] == 0 {
		delete(q.held, app)
	}
}

// full reports whether there is no room for another order of a project.
func (q *quota) full(app string) bool { return q.held[app] >= q.share && q.beyond >= q.common }

// quotas are those of a book.
type quotas struct{ all, asides, singles *quota }

func newQuotas(projects int) quotas {
	return quotas{
		all:     newQuota("orders", store.MaxOrders, projects),
		asides:  newQuota("changes of role and renewals", maxAsides, projects),
		singles: newQuota("revocations of one session each", maxSingles, projects),
	}
}

// of are the quotas that an order counts for. Those that were lifted count, too.
func (q *quotas) of(o *store.Order) []*quota {
	switch {
	case aside(o):
		return []*quota{q.all, q.asides}
	case single(o):
		return []*quota{q.all, q.singles}
	}
	return []*quota{q.all}
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
	if len(b.entries) >= store.MaxOrders { // with those of projects that are not ours
		return noRoom("orders")
	}
	for _, q := range b.quotas.of(o) {
		if q.full(o.App) {
			return noRoom(q.sort)
		}
	}
	return nil
}

// noRoom is the refusal of an order of some sort.
func noRoom(sort string) *session.Error {
	e := session.Errorf(session.CodeUnavailable,
		"too many %s stand, or were lifted: this project has had its share, and there is no other room; "+
			"wait until the time of some is over, and give shorter ones, or wider ones in their place", sort)
	e.RetryAfter = roomAfter
	return e
}
