package orders

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

// ofOne is an order about one session of a project, for an hour.
func ofOne(kind store.OrderKind, app string, i int) store.Order {
	return store.Order{App: app, Kind: kind, Session: "S" + strconv.Itoa(i), Until: session.SecOf(time.Now().Add(time.Hour))}
}

// fill has n orders stand, without carrying them out.
func (n *node) fill(count int, order func(i int) store.Order) {
	n.Book.mu.Lock()
	defer n.Book.mu.Unlock()
	from := len(n.entries)
	for i := range count {
		o := order(i)
		o.ID = strconv.Itoa(from + i)
		n.add(o)
	}
}

// wantNoRoom expects an order to be refused, and the refusal to name its sort.
func (n *node) wantNoRoom(o store.Order, sort string) {
	n.t.Helper()
	refusal, ok := errors.AsType[*session.Error](give(n, o))
	if !ok || refusal.Code != session.CodeUnavailable || refusal.RetryAfter != time.Minute ||
		!strings.HasPrefix(refusal.Message, "too many "+sort+" stand,") {
		n.t.Errorf("one of too many %s: %+v", sort, refusal)
	}
}

// TestFull: there is an end to what is kept, and time makes room.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newNode(t, newBoard(), "a")
		a.fill(store.MaxOrders-1, revocation)
		if err := give(a, revocation(-1)); err != nil {
			t.Errorf("the last that there is room for: %v", err)
		}
		if err := a.Lift(t.Context(), "app", "0"); err != nil {
			t.Fatal(err)
		}
		a.wantNoRoom(revocation(-1), "orders")
		time.Sleep(time.Hour) // bubble
		a.expire()
		if err := give(a, revocation(-1)); err != nil {
			t.Errorf("when the others are over: %v", err)
		}
	})
}

// The sorts of orders that there are limits for, of one project and session each.
func ofRole(app string) func(int) store.Order {
	return func(i int) store.Order { return ofOne(store.OrderRole, app, i) }
}

func ofRenewal(app string) func(int) store.Order {
	return func(i int) store.Order { return ofOne(store.OrderRenew, app, i) }
}

func ofSession(app string) func(int) store.Order {
	return func(i int) store.Order { return ofOne(store.OrderRevoke, app, i) }
}

func ofUser(app string) func(int) store.Order {
	return func(i int) store.Order {
		o := revocation(i)
		o.App = app
		return o
	}
}

func ofRotation(app string) func(int) store.Order {
	return func(int) store.Order {
		return store.Order{App: app, Kind: store.OrderRotate, Until: session.SecOf(time.Now().Add(time.Hour))}
	}
}

// TestQuotas: what one sort of order may make up leaves room for others. Lifting makes
// none.
func TestQuotas(t *testing.T) {
	role, renew, single, user, rotation := ofRole("app"), ofRenewal("app"), ofSession("app"), ofUser("app"), ofRotation("app")
	here := func(i int) store.Order {
		o := single(i)
		o.Channel = "daily"
		return o
	}
	mixed := func(i int) store.Order {
		if i%2 == 0 {
			return role(i)
		}
		return renew(i)
	}
	type orders []func(int) store.Order
	for name, tt := range map[string]struct {
		kind  func(int) store.Order
		most  int
		sort  string
		taken orders
		not   orders
	}{
		"roles":             {role, store.MaxOrders / 4, "changes of role and renewals", orders{single, user, rotation}, orders{role, renew}},
		"renewals":          {renew, store.MaxOrders / 4, "changes of role and renewals", orders{single, user, rotation}, orders{role, renew}},
		"roles, renewals":   {mixed, store.MaxOrders / 4, "changes of role and renewals", orders{single, user}, orders{role, renew}},
		"sessions":          {single, store.MaxOrders / 2, "revocations of one session each", orders{role, renew, here, user, rotation}, orders{single}},
		"sessions that fit": {here, store.MaxOrders / 2, "", orders{here, single}, nil},
		"all":               {user, store.MaxOrders, "orders", nil, orders{user, role, rotation}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newNode(t, newBoard(), "a")
				a.fill(tt.most-1, tt.kind)
				last, err := a.Give(t.Context(), tt.kind(-1))
				if err != nil {
					t.Fatalf("the last that there is room for: %v", err)
				}
				if err := a.Lift(t.Context(), "app", last.Order.ID); err != nil {
					t.Fatal(err)
				}
				for i, order := range tt.not {
					a.wantNoRoom(order(-2-i), tt.sort)
				}
				for i, order := range tt.taken {
					if err := give(a, order(-10-i)); err != nil {
						t.Errorf("another: %v", err)
					}
				}
				time.Sleep(2 * time.Hour) // bubble
				a.expire()
				for i, order := range slices.Concat(tt.not, tt.taken) {
					if err := give(a, order(-20-i)); err != nil {
						t.Errorf("when the others are over: %v", err)
					}
				}
			})
		})
	}
}

// TestProjectsShareTheRoom: whatever one project gives, of any sort, the others have their
// share of each sort left, though this node has not heard of them yet.
func TestProjectsShareTheRoom(t *testing.T) {
	for name, c := range map[string]struct {
		projects int
		sort     func(app string) func(int) store.Order
		limit    int
		called   string
	}{
		"two projects, all":        {2, ofUser, store.MaxOrders, "orders"},
		"two projects, roles":      {2, ofRole, maxAsides, "changes of role and renewals"},
		"two projects, renewals":   {2, ofRenewal, maxAsides, "changes of role and renewals"},
		"two projects, sessions":   {2, ofSession, maxSingles, "revocations of one session each"},
		"ten projects, all":        {10, ofUser, store.MaxOrders, "orders"},
		"ten projects, sessions":   {10, ofSession, maxSingles, "revocations of one session each"},
		"thousand projects, roles": {1000, ofRole, maxAsides, "changes of role and renewals"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newNode(t, newBoard(), "a", c.projects)
				share := c.limit / (2 * c.projects)
				greedy, modest := c.sort("greedy"), c.sort("modest")
				// One project takes its own share, and half of all, which is for who comes first.
				most := share + c.limit - c.projects*share
				a.fill(most-1, greedy)
				if err := give(a, greedy(-1)); err != nil {
					t.Fatalf("the last that there is room for: %v", err)
				}
				a.wantNoRoom(greedy(-2), c.called)
				// The other still has its share, and no more.
				a.fill(share-1, modest)
				if err := give(a, modest(-1)); err != nil {
					t.Errorf("the last of the other's share: %v", err)
				}
				a.wantNoRoom(modest(-2), c.called)
				a.wantNoRoom(greedy(-3), c.called)
				time.Sleep(2 * time.Hour) // bubble
				a.expire()
				for i, order := range []func(int) store.Order{greedy, modest} {
					if err := give(a, order(-10-i)); err != nil {
						t.Errorf("when the others are over: %v", err)
					}
				}
			})
		})
	}
}

// TestQuotaIsGivenBack: orders that are over leave as much room as there was before them.
func TestQuotaIsGivenBack(t *testing.T) {
	q := newQuota("orders", 8, 2)
	for range 3 {
		for n := range 6 { // a share of two, and four that are for all
			if q.full("greedy") {
				t.Fatalf("full with %d", n)
			}
			q.add("greedy")
		}
		if !q.full("greedy") || q.full("modest") {
			t.Fatalf("full: %t, the other project: %t", q.full("greedy"), q.full("modest"))
		}
		for range 6 {
			q.remove("greedy")
		}
	}
}

// TestBoardFull: an order that the board has no room for is refused, counts
// nowhere, and is not tried again.
func TestBoardFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		first := a.give(revocation(1)).Order.ID
		b.mu.Lock()
		b.room = 1
		b.mu.Unlock()
		time.Sleep(time.Second) // bubble
		puts := a.link.puts
		a.wantNoRoom(revocation(2), "orders")
		a.wantNoRoom(store.Order{App: "app", Kind: store.OrderRotate, Until: session.SecOf(time.Now().Add(time.Hour))}, "orders")
		a.wantRevokes(2, false)
		if err := a.Lift(t.Context(), "app", first); err != nil {
			t.Errorf("Lift: %v", err)
		}
		b.mu.Lock()
		b.room = 0
		b.mu.Unlock()
		time.Sleep(10 * time.Minute) // bubble
		a.wantRevokes(2, false)
		other.wantRevokes(2, false)
		if got := a.link.puts - puts; got != 3 {
			t.Errorf("put on the board %d times, want each once", got)
		}
		if len(a.entries) != 1 || len(a.rolling) != 0 || len(a.unsaved) != 0 {
			t.Errorf("still has %+v", a.Book)
		}
		if got := testutil.ToFloat64(a.metrics.given.WithLabelValues("revoke", "refused")); got != 1 {
			t.Errorf("%v counted as refused", got)
		}
		if strings.Contains(a.log.String(), "level=WARN") {
			t.Errorf("the board is said to be away:\n%s", a.log)
		}
	})
}

// TestBoardFullAfterAll: what was given while the board was away counts here, and
// the board is asked now and then whether it has room by now. The lifting of others
// does not wait for that.
func TestBoardFullAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		late := revocation(3)
		late.At = session.MilliOf(time.Now().Add(time.Minute)) // the last to be put there
		id := a.give(late).Order.ID
		a.link.set(true, false)
		for i := range batch {
			if err := give(a, revocation(4+i)); !errors.Is(err, store.ErrNotDurable) {
				t.Fatal(err)
			}
		}
		if err := a.Lift(t.Context(), "app", id); !errors.Is(err, store.ErrNotDurable) {
			t.Fatal(err)
		}
		time.Sleep(askEvery) // bubble
		b.mu.Lock()
		b.room = 1
		b.mu.Unlock()
		a.link.mu.Lock()
		a.link.away, a.link.puts = false, 0
		a.link.mu.Unlock()
		time.Sleep(2 * maxRetry) // bubble
		other.wantRevokes(3, false)
		time.Sleep(10*roomAfter - 2*maxRetry) // bubble
		a.wantRevokes(4, true)
		other.wantRevokes(4, false)
		a.link.mu.Lock()
		if got := a.link.puts; got < 5*batch || got > 12*batch {
			t.Errorf("%d tries in ten minutes for %d orders", got, batch)
		}
		a.link.mu.Unlock()
		if log := a.log.String(); strings.Count(log, "cannot be reached") != 1 || strings.Count(log, "is back") != 1 ||
			!strings.Contains(log, "the board is full") {
			t.Errorf("want the board away once, back, and full:\n%s", log)
		}
		b.mu.Lock()
		b.room = 0
		b.mu.Unlock()
		time.Sleep(roomAfter + askEvery) // bubble
		other.wantRevokes(4, true)
		wantMetric(t, a, "refresher_orders_unsaved", 0)
	})
}

// TestLiftThoughFull: the lifting of an order does not wait for room, though the
// order was put on the board together with one that there was no room for.
func TestLiftThoughFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		a.link.set(true, false)
		for i := range 2 {
			o := revocation(i)
			o.ID = strconv.Itoa(i)
			o.At = session.UnixMilli(1 + i) // the first is put there first
			if err := give(a, o); !errors.Is(err, store.ErrNotDurable) {
				t.Fatal(err)
			}
		}
		b.mu.Lock()
		b.room = 1
		b.mu.Unlock()
		a.link.set(false, false)
		time.Sleep(2 * maxRetry) // bubble
		other.wantRevokes(0, true)
		other.wantRevokes(1, false)
		a.link.set(true, false)
		if err := a.Lift(t.Context(), "app", "0"); !errors.Is(err, store.ErrNotDurable) {
			t.Fatal(err)
		}
		a.link.set(false, false)
		time.Sleep(2 * maxRetry) // bubble
		other.wantRevokes(0, false)
	})
}
