package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

var boardChecks = []check{
	{"has a version when it is empty", boardEmpty},
	{"gives orders back whole", boardWhole},
	{"keeps the first of two of a name", boardFirst},
	{"changes its version with each change", boardVersions},
	{"lifts orders for good", boardLifts},
	{"forgets orders whose time is over", boardForgets},
	{"leaves those of a newer release out", boardNewer},
	{"keeps what each node said last", boardReports},
	{"knows who lives", boardAlive},
	{"tells who follows", boardFollow},
	{"takes orders from many at once", boardAtOnce},
	{"takes so many and no more", boardFull},
}

// order is one that stands for an hour.
func (w *world) order(id string) store.Order {
	now := w.clock.now()
	return store.Order{
		ID: id, App: "app", Kind: store.OrderRevoke, Channel: "room of " + id,
		At: session.MilliOf(now), Until: session.SecOf(now) + 3600, By: nodeA, Format: store.Format,
	}
}

func (w *world) give(orders ...store.Order) {
	w.Helper()
	if err := w.store.Give(w.Context(), orders...); err != nil {
		w.Fatalf("Give: %v", err)
	}
}

func sortOrders(orders []store.Order) {
	slices.SortFunc(orders, func(a, b store.Order) int { return strings.Compare(a.ID, b.ID) })
}

// orders are those on the board, by id, and its version.
func (w *world) orders(known string) (orders []store.Order, version string) {
	w.Helper()
	orders, version, err := w.store.Orders(w.Context(), known)
	if err != nil || version == "" {
		w.Fatalf("Orders: version %q, %v", version, err)
	}
	if version == known && orders != nil {
		w.Fatalf("Orders: %d, although nothing has changed", len(orders))
	}
	sortOrders(orders)
	return orders, version
}

// standing wants just these orders on the board. It returns the version.
func (w *world) standing(want ...store.Order) string {
	w.Helper()
	got, version := w.orders("")
	sortOrders(want)
	if !slices.Equal(want, got) { // there may be many
		w.same("the orders on the board", want, got)
	}
	return version
}

// reports are those on an order.
func (w *world) reports(order string) []store.Report {
	w.Helper()
	reports, _, err := w.store.Reports(w.Context(), order)
	if err != nil {
		w.Fatalf("Reports: %v", err)
	}
	return reports
}

func (w *world) report(order string, r store.Report) {
	w.Helper()
	if err := w.store.Report(w.Context(), order, r); err != nil {
		w.Fatalf("Report: %v", err)
	}
}

func boardEmpty(w *world) {
	version := w.standing()
	if again := w.standing(); again != version {
		w.Errorf("the version was %q and is %q", version, again)
	}
	w.orders(version)
	w.give()
	if again := w.standing(); again != version {
		w.Errorf("nothing was given, and the version was %q and is %q", version, again)
	}
	if reports := w.reports("O"); len(reports) > 0 {
		w.Errorf("%+v", reports)
	}
}

func boardWhole(w *world) {
	revoke, role, rotate := w.order("{1}"), w.order(`"2" ünï\`), w.order("3")
	revoke.Session, revoke.User, revoke.Subject = "S1", "4294967295", "日本 <&>"
	role.Kind, role.Role, role.Session = store.OrderRole, session.Publisher, "S2"
	rotate.Kind, rotate.OverMs, rotate.Certificate, rotate.Lifted = store.OrderRotate, 1<<52, "0a1b", true
	rotate.At = 1<<53 - 1
	want := []store.Order{revoke, role, rotate}
	set := make(map[string]bool)
	for i := range want {
		lookAtFields(reflect.ValueOf(want[i]), "", set)
	}
	for name, is := range set {
		if !is {
			w.Errorf("no order has a%s: add one, so that boards are known to keep it", name)
		}
	}
	w.give(want...)
	w.standing(want...)
}

func boardFirst(w *world) {
	first := w.order("O")
	w.give(first)
	version := w.standing(first)
	second := w.order("O")
	second.Channel, second.Until = "another", second.Until+60
	w.give(second)
	w.give(second, first)
	if again := w.standing(first); again != version {
		w.Errorf("nothing has changed, and the version was %q and is %q", version, again)
	}
}

func boardVersions(w *world) {
	seen := map[string]bool{}
	var all []store.Order
	known := ""
	for i := range 20 {
		got, version := w.orders(known)
		w.same("the orders on the board", all, got)
		if seen[version] {
			w.Fatalf("the version %q a second time", version)
		}
		seen[version], known = true, version
		if none, same := w.orders(known); none != nil || same != known {
			w.Fatalf("nothing has changed, and there are %d orders, version %q after %q", len(none), same, known)
		}
		if i%5 == 4 {
			all[i/5].Lifted = true
			w.give(all[i/5])
			continue
		}
		all = append(all, w.order(fmt.Sprintf("O%02d", i)))
		w.give(all[len(all)-1])
	}
}

func boardLifts(w *world) {
	one, two, three := w.order("1"), w.order("2"), w.order("3")
	w.give(one, two)
	lifted := two
	lifted.Lifted, lifted.By = true, nodeB
	w.give(lifted)
	w.standing(one, lifted)
	version := w.standing(one, lifted)
	w.give(two)
	w.give(lifted)
	if again := w.standing(one, lifted); again != version {
		w.Errorf("nothing has changed, and the version was %q and is %q", version, again)
	}
	// Nor does one stand that was lifted before the board heard of it.
	liftedThree := three
	liftedThree.Lifted = true
	w.give(liftedThree, three)
	if again := w.standing(one, lifted, liftedThree); again == version {
		w.Error("the version is the same")
	}
}

func boardForgets(w *world) {
	minute, hour, lifted, late := w.order("1"), w.order("2"), w.order("3"), w.order("4")
	minute.Until = session.SecOf(w.clock.now()) + 60
	lifted.Until, lifted.Lifted = minute.Until, true
	late.Until = session.SecOf(w.clock.now())
	w.give(minute, hour, lifted, late)
	w.report(minute.ID, store.Report{Node: nodeA, Done: 1})
	w.standing(minute, hour, lifted)
	w.pass(minute.Until.Time().Sub(w.clock.now()) - time.Millisecond)
	w.standing(minute, hour, lifted)
	if reports := w.reports(minute.ID); len(reports) != 1 {
		w.Errorf("reports %+v", reports)
	}
	w.pass(time.Millisecond)
	w.standing(hour)
	for range 2 {
		if reports := w.reports(minute.ID); len(reports) > 0 {
			w.Errorf("reports on an order whose time is over: %+v", reports)
		}
		w.report(minute.ID, store.Report{Node: nodeB, Done: 1})
	}
	w.give(hour)
	version := w.standing(hour)
	w.give(minute, lifted)
	if again := w.standing(hour); again != version {
		w.Errorf("nothing was given that stands, and the version was %q and is %q", version, again)
	}
	// The name can be had again, and not what was said of the one before.
	again := w.order(minute.ID)
	w.give(again)
	w.standing(again, hour)
	if reports := w.reports(again.ID); len(reports) > 0 {
		w.Errorf("reports on an order of the same name: %+v", reports)
	}
}

func boardNewer(w *world) {
	mine, newer := w.order("1"), w.order("2")
	newer.Format++
	w.give(mine, newer)
	w.standing(mine)
	// It is not this release's to lift.
	old := newer
	old.Lifted, old.Format = true, store.Format
	w.give(old)
	w.standing(mine)
}

func boardReports(w *world) {
	w.give(w.order("O"), w.order("other"))
	b := store.Report{Node: nodeB, Sessions: 9, Done: 4, Failed: 2, AccessEndsAt: session.SecOf(w.after(time.Hour)), Note: `"not" <mine>`}
	a := store.Report{Node: nodeA}
	w.report("O", b)
	w.report("O", a)
	w.report("none", a)
	w.same("reports", []store.Report{a, b}, w.reports("O"))
	b.Done, b.Note = 9, ""
	w.report("O", b)
	w.same("reports", []store.Report{a, b}, w.reports("O"))
	lifted := w.order("O")
	lifted.Lifted = true
	w.give(lifted)
	a.Sessions = 1
	w.report("O", a)
	w.same("reports on one that was lifted", []store.Report{a, b}, w.reports("O"))
	for _, order := range []string{"other", "none"} {
		if reports := w.reports(order); len(reports) > 0 {
			w.Errorf("reports on %s: %+v", order, reports)
		}
	}
	// Reports are no change of the orders.
	_, version := w.orders("")
	w.report("O", b)
	if _, again := w.orders(version); again != version {
		w.Errorf("the version was %q and is %q", version, again)
	}
}

func boardAlive(w *world) {
	alive := func(want ...string) {
		w.Helper()
		_, got, err := w.store.Reports(w.Context(), "O")
		if err != nil || !slices.Equal(got, want) {
			w.Errorf("alive %q, %v; want %q", got, err, want)
		}
	}
	alive()
	w.sweep(nodeB)
	w.pass(store.SweepEvery)
	w.sweep(nodeA)
	w.sweep(nodeC)
	alive(nodeA, nodeB, nodeC)
	w.leave(nodeC)
	alive(nodeA, nodeB)
	w.pass(store.Lease - store.SweepEvery - time.Millisecond)
	alive(nodeA, nodeB)
	w.pass(time.Millisecond)
	alive(nodeA)
	w.pass(store.SweepEvery)
	alive()
}

// follower follows the board.
type follower struct {
	w       *world
	changes chan struct{} // holds one: there may be more
	stop    func()
}

// follow returns when it was called for the first time.
func (w *world) follow() *follower {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	f := &follower{w: w, changes: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() {
		done <- w.store.Follow(ctx, func() {
			select {
			case f.changes <- struct{}{}:
			default:
			}
		})
	}()
	f.stop = sync.OnceFunc(func() {
		w.Helper()
		cancel()
		if err := w.await(done, "Follow to end"); err != nil {
			w.Errorf("Follow, whose context is done: %v, want nil", err)
		}
	})
	w.Cleanup(f.stop)
	f.told("at first")
	return f
}

func (f *follower) told(when string) {
	f.w.Helper()
	select {
	case <-f.changes:
	case <-time.After(patience):
		f.w.Fatalf("%s: not called within %s", when, patience)
	}
}

func boardFollow(w *world) {
	one, two := w.follow(), w.follow()
	o := w.order("O")
	w.give(o)
	one.told("a new order")
	two.told("a new order")
	o.Lifted = true
	w.give(o)
	one.told("an order was lifted")
	two.told("an order was lifted")
	one.stop()
	w.give(w.order("P"), w.order("Q"))
	two.told("two orders")
	if len(one.changes) > 0 {
		w.Error("called after its end")
	}
	w.follow().stop()
}

func boardAtOnce(w *world) {
	const many = 16
	var want []store.Order
	var all sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		orders := []store.Order{w.order(fmt.Sprintf("O%02d", i)), w.order("the same")}
		want = append(want, orders[0])
		all.Go(func() { errs[i] = w.store.Give(w.Context(), orders...) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		w.Fatal(err)
	}
	w.standing(append(want, w.order("the same"))...)
}

func boardFull(w *world) {
	orders := make([]store.Order, store.MaxOrders)
	for i := range orders {
		orders[i] = w.order(fmt.Sprintf("O%06d", i))
	}
	orders[7].Until = session.SecOf(w.clock.now()) + 60
	w.give(orders...)
	more := []store.Order{w.order("more"), w.order("still more")}
	lifted := orders[0]
	lifted.Lifted = true
	if err := w.store.Give(w.Context(), more[0], lifted, more[1]); !errors.Is(err, store.ErrBoardFull) {
		w.Fatalf("Give to a full board: %v", err)
	}
	orders[0] = lifted
	w.give(orders[:2]...) // there is nothing new in these
	_, version := w.orders("")
	// What is over makes room.
	w.pass(time.Minute)
	w.give(more[0])
	if _, again := w.orders(version); again == version {
		w.Error("the version is the same")
	}
	if err := w.store.Give(w.Context(), more[1]); !errors.Is(err, store.ErrBoardFull) {
		w.Errorf("Give to a board that is full again: %v", err)
	}
	w.standing(append([]store.Order{more[0]}, slices.Delete(orders, 7, 8)...)...)
}
