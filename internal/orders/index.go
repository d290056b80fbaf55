package orders

import (
	"cmp"
	"math"
	"slices"

	"github.com/google/btree"

	"refresher/internal/session"
	"refresher/internal/store"
)

// never is a Unix second that does not come.
const never = math.MaxInt64

// project is what stands of one project's orders, in the form in which it is
// looked up.
type project struct {
	// revoked are the revocations by what they name, and of each those that
	// stand longest first: if the first has run out, all have.
	revoked map[target][]*entry
	// shapes is how many revocations name which combination of things. Only
	// the combinations that exist are looked up.
	shapes [1 << 4]int
	// roles are the role orders by session, the newest first.
	roles map[string][]*entry
	// rotations are the roll-overs, the oldest first.
	rotations []*entry
	// list has all of these by kind and id, as they are listed.
	list *btree.BTreeG[*entry]
}

// listDegree is how many orders a node of project.list has at least.
const listDegree = 32

// byKind sorts as a listing goes.
func byKind(a, b *entry) bool {
	return cmp.Or(cmp.Compare(a.order.Kind, b.order.Kind), cmp.Compare(a.order.ID, b.order.ID)) < 0
}

// target is what a revocation names; empty is not named.
type target struct{ session, channel, user, subject string }

// The bits of a shape.
const (
	bySession = 1 << iota
	byChannel
	byUser
	bySubject
)

func targetOf(o *store.Order) target {
	return target{session: o.Session, channel: o.Channel, user: o.User, subject: o.Subject}
}

// shape is which of a target's parts are named.
func (t target) shape() int {
	shape := 0
	for i, name := range [...]string{t.session, t.channel, t.user, t.subject} {
		if name != "" {
			shape |= 1 << i
		}
	}
	return shape
}

// older sorts the oldest order first.
func older(a, b *store.Order) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) }

// byAge sorts the oldest first.
func byAge(a, b *entry) int { return older(&a.order, &b.order) }

// byNews sorts the newest first.
func byNews(a, b *entry) int { return byAge(b, a) }

// byEnd sorts the one that stands longest first.
func byEnd(a, b *entry) int {
	return cmp.Or(cmp.Compare(b.order.Until, a.order.Until), cmp.Compare(a.order.ID, b.order.ID))
}

// insert puts e into a sorted list.
func insert(list []*entry, e *entry, by func(a, b *entry) int) []*entry {
	at, _ := slices.BinarySearchFunc(list, e, by)
	return slices.Insert(list, at, e)
}

// remove takes e out of a sorted list; nil is what is left of the last.
func remove(list []*entry, e *entry, by func(a, b *entry) int) []*entry {
	at, found := slices.BinarySearchFunc(list, e, by)
	if !found {
		return list
	}
	if len(list) == 1 {
		return nil
	}
	return slices.Delete(list, at, at+1)
}

// change sets a list in a map, where nil is none.
func change[K comparable](m map[K][]*entry, k K, list []*entry) {
	if list == nil {
		delete(m, k)
		return
	}
	m[k] = list
}

// index has an order count. Book.mu is held.
func (b *Book) index(e *entry) {
	o := &e.order
	p := b.projects[o.App]
	if p == nil {
		p = &project{revoked: make(map[target][]*entry), roles: make(map[string][]*entry), list: btree.NewG(listDegree, byKind)}
		b.projects[o.App] = p
	}
	switch o.Kind {
	case store.OrderRevoke:
		t := targetOf(o)
		p.revoked[t] = insert(p.revoked[t], e, byEnd)
		p.shapes[t.shape()]++
	case store.OrderRole:
		p.roles[o.Session] = insert(p.roles[o.Session], e, byNews)
	case store.OrderRotate:
		p.rotations = insert(p.rotations, e, byAge)
	case store.OrderRenew: // nobody looks for it later
	}
	p.list.ReplaceOrInsert(e)
	b.standing[o.Kind]++
}

// unindex undoes index. Book.mu is held.
func (b *Book) unindex(e *entry) {
	o := &e.order
	p := b.projects[o.App]
	last := len(p.rotations) > 0 && p.rotations[len(p.rotations)-1] == e
	switch o.Kind {
	case store.OrderRevoke:
		t := targetOf(o)
		change(p.revoked, t, remove(p.revoked[t], e, byEnd))
		p.shapes[t.shape()]--
	case store.OrderRole:
		change(p.roles, o.Session, remove(p.roles[o.Session], e, byNews))
	case store.OrderRotate:
		p.rotations = remove(p.rotations, e, byAge)
	case store.OrderRenew:
	}
	if p.list.Delete(e); p.list.Len() == 0 {
		delete(b.projects, o.App)
	}
	b.standing[o.Kind]--
	if last {
		b.resume(o.App)
	}
}

// Revoked is a revocation that stands for this session, if there is one.
// sessionID and subject may be empty: there is none.
func (b *Book) Revoked(app, sessionID, subject string, id session.Identity) (store.Order, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	p := b.projects[app]
	if p == nil || len(p.revoked) == 0 {
		return store.Order{}, false
	}
	now := b.unix()
	for shape, n := range p.shapes {
		if n == 0 ||
			shape&bySession != 0 && sessionID == "" ||
			shape&byChannel != 0 && id.RTC == nil ||
			shape&bySubject != 0 && subject == "" {
			continue
		}
		var t target
		if shape&bySession != 0 {
			t.session = sessionID
		}
		if shape&byChannel != 0 {
			t.channel = id.RTC.Channel
		}
		if shape&bySubject != 0 {
			t.subject = subject
		}
		if shape&byUser == 0 {
			if e := p.find(t, now); e != nil {
				return e.order, true
			}
			continue
		}
		for _, user := range store.UsersOf(&id, shape&byChannel != 0) {
			if t.user = user; user == "" {
				continue
			}
			if e := p.find(t, now); e != nil {
				return e.order, true
			}
		}
	}
	return store.Order{}, false
}

// find is a revocation that names exactly t, and stands.
func (p *project) find(t target, now session.UnixSec) *entry {
	if list := p.revoked[t]; len(list) > 0 && stands(&list[0].order, now) {
		return list[0]
	}
	return nil
}

// Role is the role that the newest order gives a session, if there is one.
func (b *Book) Role(app, sessionID string) (role session.Role, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.newestRole(app, sessionID); e != nil {
		return e.order.Role, true
	}
	return 0, false
}

// newestRole is the role order that counts for a session; nil is none. Book.mu is
// held.
func (b *Book) newestRole(app, sessionID string) *entry {
	p := b.projects[app]
	if p == nil {
		return nil
	}
	list := p.roles[sessionID]
	if len(list) == 0 {
		return nil
	}
	now := b.unix()
	for _, e := range list {
		if stands(&e.order, now) {
			return e
		}
	}
	return nil
}

// newest is the order that counts in place of o, or does until o is given: the
// newest role order for its session, or the newest roll-over of its project; nil is
// none. Book.mu is held.
func (b *Book) newest(o *store.Order) *entry {
	switch o.Kind {
	case store.OrderRole:
		return b.newestRole(o.App, o.Session)
	case store.OrderRotate:
		return b.newestRotation(o.App)
	case store.OrderRevoke, store.OrderRenew: // all of them count
	}
	return nil
}

// newestRotation is the roll-over that counts for a project; nil is none. Book.mu
// is held.
func (b *Book) newestRotation(app string) *entry {
	p := b.projects[app]
	if p == nil {
		return nil
	}
	now := b.unix()
	for _, e := range slices.Backward(p.rotations) {
		if stands(&e.order, now) {
			return e
		}
	}
	return nil
}

// List is a part of a project's orders of one kind that stand, by id: those that come
// after the cursor of that name; limit at most, or store.ListLimit if it is not between 1
// and that. There may be fewer, even none, before the end. next is the cursor to go on
// from, empty at the end. The work is that for one page, however many orders there are.
func (b *Book) List(app string, kind store.OrderKind, after string, limit int) (orders []store.Order, next string) {
	if limit < 1 || limit > store.ListLimit {
		limit = store.ListLimit
	}
	now := b.unix()
	b.mu.RLock()
	defer b.mu.RUnlock()
	p := b.projects[app]
	if p == nil {
		return nil, ""
	}
	looked, last := 0, ""
	p.list.AscendGreaterOrEqual(&entry{order: store.Order{Kind: kind, ID: after}}, func(e *entry) bool {
		o := &e.order
		switch {
		case o.Kind != kind:
			return false
		case o.ID == after:
			return true
		case looked == limit: // there is more
			next = last
			return false
		}
		looked, last = looked+1, o.ID
		if stands(o, now) {
			orders = append(orders, *o)
		}
		return true
	})
	return orders, next
}
