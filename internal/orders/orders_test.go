package orders

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestNewWantsAll(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty Config will do")
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newBoard(), "a")
		n.SetSessions(nil)
		if n.Run(t.Context()) == nil {
			t.Error("Run without Sessions")
		}
	})
}

// TestRefused: an order that cannot be meant is not given.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newBoard(), "a")
		taken := a.give(revocation(7)).Order.ID
		tests := map[string]func(o *store.Order){
			"no app":                 func(o *store.Order) { o.App = "" },
			"no kind":                func(o *store.Order) { o.Kind = "" },
			"another kind":           func(o *store.Order) { o.Kind = "praise" },
			"over":                   func(o *store.Order) { o.Until = session.SecOf(time.Now()) },
			"everybody":              func(o *store.Order) { o.User = "" },
			"a long name":            func(o *store.Order) { o.Channel = strings.Repeat("x", store.MaxName+1) },
			"a role for no session":  func(o *store.Order) { o.Kind = store.OrderRole },
			"renew no session":       func(o *store.Order) { o.Kind = store.OrderRenew },
			"a span that goes back":  func(o *store.Order) { o.Kind, o.OverMs = store.OrderRotate, -1 },
			"lifted":                 func(o *store.Order) { o.Lifted = true },
			"an id that is in use":   func(o *store.Order) { o.ID = taken },
			"an id that is too long": func(o *store.Order) { o.ID = strings.Repeat("x", store.MaxName+1) },
		}
		for name, spoil := range tests {
			o := revocation(8)
			spoil(&o)
			refusal, ok := errors.AsType[*session.Error](give(a, o))
			if !ok || refusal.Code != session.CodeBadRequest {
				t.Errorf("%s: %v", name, refusal)
			}
		}
		if got, _ := a.List("app", store.OrderRevoke, "", 0); len(got) != 1 {
			t.Errorf("%d orders stand, want the first only", len(got))
		}
		if got := testutil.ToFloat64(a.metrics.given.WithLabelValues("revoke", "refused")); got == 0 {
			t.Error("refusals are not counted")
		}
	})
}

func give(n *node, o store.Order) error {
	_, err := n.Give(n.t.Context(), o)
	return err
}

// TestRole: of several roles the one that was given last counts, though it be
// learned first, or the clock that gave it be behind.
func TestRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		order := func(role session.Role) store.Order {
			return store.Order{App: "app", Kind: store.OrderRole, Session: "S", Role: role, Until: session.SecOf(time.Now().Add(time.Hour))}
		}
		want := func(role session.Role, found bool) {
			t.Helper()
			synctest.Wait()
			for _, n := range []*node{a, other} {
				if got, ok := n.Role("app", "S"); got != role || ok != found {
					t.Errorf("%s: %v, %v; want %v, %v", n.name, got, ok, role, found)
				}
			}
		}
		want(0, false)
		ahead := order(session.Publisher)
		ahead.At = session.MilliOf(time.Now().Add(time.Minute))
		first := a.give(ahead).Order
		want(session.Publisher, true)
		second := other.give(order(session.Subscriber)).Order
		want(session.Subscriber, true)
		if second.At <= first.At {
			t.Errorf("the second is of %d, the first of %d", second.At, first.At)
		}
		// One from before that comes late is not carried out over them.
		late := order(session.Publisher)
		late.At = 1
		if r := a.give(late); a.carried(r.Order.ID) != 0 || other.carried(r.Order.ID) != 0 || r.Nodes[0].Note == "" {
			t.Errorf("an older order was carried out: %+v", r)
		}
		want(session.Subscriber, true)
		if err := a.Lift(t.Context(), "app", second.ID); err != nil {
			t.Fatal(err)
		}
		want(session.Publisher, true)
		if _, ok := a.Role("other", "S"); ok {
			t.Error("the role counts in another project")
		}
		if _, ok := a.Role("app", "S2"); ok {
			t.Error("the role counts for another session")
		}
		time.Sleep(time.Hour) // bubble
		want(0, false)
	})
}

// TestRotation: the progress of a roll-over is looked at until it is complete.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		done, stuck := 0, 0
		a.answer = func(store.Order) store.Report {
			done = min(done+1, 5)
			return store.Report{Sessions: 5, Done: done}
		}
		other.answer = func(store.Order) store.Report {
			stuck++
			return store.Report{Sessions: 2, Done: 1}
		}
		o := store.Order{App: "app", Kind: store.OrderRotate, OverMs: 60_000, Until: session.SecOf(time.Now().Add(time.Hour))}
		r := a.give(o)
		if r.Sessions != 7 || r.Done != 2 || len(r.Silent) != 0 || r.Order.Certificate != "the same" {
			t.Errorf("at first: %+v", r)
		}
		time.Sleep(4500 * time.Millisecond) // bubble
		if r, _ := other.Get(t.Context(), "app", r.Order.ID); r.Done != 6 {
			t.Errorf("after 4 s: %+v", r)
		}
		time.Sleep(10 * time.Minute) // bubble
		synctest.Wait()
		if got := a.carried(r.Order.ID); got != 6 {
			t.Errorf("looked at %d times, want once more than it took", got)
		}
		if a.link.said != 5 {
			t.Errorf("%d reports of 5 changes", a.link.said)
		}
		if stuck != 121 || other.link.said != 1 {
			t.Errorf("one that goes on was looked at %d times, and reported %d times", stuck, other.link.said)
		}
		if got, _ := other.List("app", store.OrderRotate, "", 0); len(got) != 1 || got[0] != r.Order {
			t.Errorf("roll-overs: %+v", got)
		}
		// A lifted one is left alone, and so is one whose time is over.
		stuck = 0
		id := other.give(o).Order.ID
		if err := a.Lift(t.Context(), "app", id); err != nil {
			t.Fatal(err)
		}
		o.Until = session.SecOf(time.Now().Add(2 * time.Second))
		other.give(o)
		time.Sleep(time.Minute) // bubble
		synctest.Wait()
		if stuck > 4 || len(other.rolling) != 0 {
			t.Errorf("looked at %d times", stuck)
		}
		if got, _ := other.List("app", store.OrderRotate, "", 0); len(got) != 1 {
			t.Errorf("roll-overs: %+v", got)
		}
	})
}

// TestAnotherCertificate: a node that signs with another certificate says so.
func TestAnotherCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), newNode(t, b, "b")
		other.config.Certificate = func(string) string { return "another" }
		other.run()
		r := a.give(store.Order{App: "app", Kind: store.OrderRotate, Until: session.SecOf(time.Now().Add(time.Hour))})
		if len(r.Nodes) != 2 || r.Nodes[0].Note != "" || r.Nodes[1].Note == "" {
			t.Errorf("reports: %+v", r.Nodes)
		}
		for _, n := range []*node{a, other} {
			if log := n.log.String(); strings.Contains(log, "the same") || strings.Contains(log, "another") {
				t.Errorf("a fingerprint is in the log:\n%s", log)
			}
		}
	})
}

// TestOnlyTheProjects: nobody sees or lifts the orders of another project.
func TestOnlyTheProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newBoard(), "a")
		id := a.give(revocation(7)).Order.ID
		if _, err := a.Get(t.Context(), "else", id); !errors.Is(err, ErrUnknown) {
			t.Errorf("Get: %v", err)
		}
		if err := a.Lift(t.Context(), "else", id); !errors.Is(err, ErrUnknown) {
			t.Errorf("Lift: %v", err)
		}
		if got, _ := a.List("else", store.OrderRevoke, "", 0); len(got) != 0 {
			t.Errorf("List: %v", got)
		}
		if _, revoked := a.Revoked("else", "", "", rtc("daily", 7)); revoked {
			t.Error("revoked in another project")
		}
	})
}

// TestList: parts make up the whole.
func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newBoard(), "a")
		var want []string
		for i := range 7 {
			want = append(want, a.give(revocation(i)).Order.ID)
		}
		if err := a.Lift(t.Context(), "app", want[3]); err != nil {
			t.Fatal(err)
		}
		want = slices.Delete(want, 3, 4)
		slices.Sort(want)
		a.give(store.Order{App: "app", Kind: store.OrderRenew, Session: "S", Until: session.SecOf(time.Now().Add(time.Hour))})
		for limit := range 8 {
			var got []string
			for after, more := "", true; more; more = after != "" {
				var part []store.Order
				part, after = a.List("app", store.OrderRevoke, after, limit)
				if limit > 0 && len(part) > limit {
					t.Errorf("%d at once, want %d at most", len(part), limit)
				}
				for i := range part {
					got = append(got, part[i].ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("by %d: %v, want %v", limit, got, want)
			}
		}
		if others, _ := a.List("app", store.OrderRenew, "", 100); len(others) != 1 {
			t.Errorf("%d of another kind", len(others))
		}
	})
}

// TestPageCostsWhatItHolds: a page takes no longer where there are a hundred times as
// many orders.
func TestPageCostsWhatItHolds(t *testing.T) {
	const page = 200
	fastest := func(count int) time.Duration {
		a := newNode(t, newBoard(), "a")
		a.fill(count, revocation)
		best := time.Hour
		for range 100 {
			began := time.Now()
			orders, next := a.List("app", store.OrderRevoke, "5", page)
			best = min(best, time.Since(began))
			if len(orders) != page || next == "" {
				t.Fatalf("%d of %d orders, and then %q", len(orders), count, next)
			}
		}
		return best
	}
	few, many := fastest(1000), fastest(store.MaxOrders)
	t.Logf("a page of 1,000 takes %s, of %d %s", few, store.MaxOrders, many)
	if many > 20*few {
		t.Errorf("a page takes %s among 1,000 orders, and %s among %d", few, many, store.MaxOrders)
	}
}

// TestPageOfWhatIsOver: orders whose time is over, and that were not forgotten yet, cost
// no more than others: a page of them has fewer, and is not the last.
func TestPageOfWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newNode(t, newBoard(), "a")
		a.fill(10, revocation)
		time.Sleep(time.Hour) // bubble
		a.fill(3, revocation) // after the others, by id: "10", "11" and "12" are amid them
		var got []string
		pages := 0
		for after, more := "", true; more; more = after != "" {
			var part []store.Order
			part, after = a.List("app", store.OrderRevoke, after, 4)
			for i := range part {
				got = append(got, part[i].ID)
			}
			pages++
		}
		if want := []string{"10", "11", "12"}; !slices.Equal(got, want) || pages != 4 {
			t.Errorf("%d pages: %q, want 4 with %q", pages, got, want)
		}
	})
}

// TestForeign: what a newer release means by its orders is not guessed, and they
// are left where they are.
func TestForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		newer, kind := revocation(7), revocation(7)
		newer.ID, newer.Format = "newer", store.Format+1
		kind.ID, kind.Kind = "kind", "praise"
		b.orders["newer"], b.orders["kind"] = newer, kind
		a := start(t, b, "a")
		a.wantRevokes(7, false)
		if a.carried("newer")+a.carried("kind") != 0 {
			t.Error("carried out")
		}
	})
}

// TestLog: one line for each change, and nobody's name in it.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		o := revocation(7)
		o.User, o.Channel, o.Subject, o.Session = "the-user", "the-channel", "the-subject", "the-session"
		id := a.give(o).Order.ID
		if err := a.Lift(t.Context(), "app", id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, n := range []*node{a, other} {
			log := n.log.String()
			if strings.Count(log, "order="+id) != 2 || strings.Contains(log, "the-") {
				t.Errorf("%s: want two lines about the order, without names:\n%s", n.name, log)
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newBoard(), "a")
		id := a.give(revocation(7)).Order.ID
		a.give(revocation(8))
		if err := a.Lift(t.Context(), "app", id); err != nil {
			t.Fatal(err)
		}
		if err := testutil.GatherAndCompare(a.registry, strings.NewReader(`
# HELP refresher_orders Orders that stand, as far as this node knows.
# TYPE refresher_orders gauge
refresher_orders{kind="renew"} 0
refresher_orders{kind="revoke"} 1
refresher_orders{kind="role"} 0
refresher_orders{kind="rotate"} 0
# HELP refresher_orders_unsaved Orders, or their lifting, that the board was not told of yet.
# TYPE refresher_orders_unsaved gauge
refresher_orders_unsaved 0
`), "refresher_orders", "refresher_orders_unsaved"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(a.registry); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}

// TestAtOnce is for the race detector.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		nodes := []*node{start(t, b, "a"), start(t, b, "b")}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				n := nodes[i%2]
				id := n.give(revocation(i)).Order.ID
				n.wantRevokes(uint32(i), true)
				nodes[(i+1)%2].Revoked("app", "", "", rtc("daily", uint32(i)))
				if i%4 == 0 {
					if err := n.Lift(t.Context(), "app", id); err != nil {
						t.Error(err)
					}
				}
				n.List("app", store.OrderRevoke, "", 0)
				if _, err := n.registry.Gather(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		for i := range 40 {
			for _, n := range nodes {
				n.wantRevokes(uint32(i), i%4 != 0)
			}
		}
	})
}
