package orders

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// rotation is of a whole project, over a minute.
func rotation() store.Order {
	return store.Order{App: "app", Kind: store.OrderRotate, OverMs: 60_000, Until: session.SecOf(time.Now().Add(time.Hour))}
}

// TestProgressIsRationed: however long it takes to look at the sessions, it takes a
// small part of the time.
func TestProgressIsRationed(t *testing.T) {
	for takes, most := range map[time.Duration]int{
		time.Millisecond: 121, 50 * time.Millisecond: 116, 800 * time.Millisecond: 9, 3 * time.Second: 3,
	} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := start(t, newBoard(), "a")
				a.answer = func(store.Order) store.Report {
					time.Sleep(takes) // bubble
					return store.Report{Sessions: 2, Done: 1}
				}
				id := a.give(rotation()).Order.ID
				time.Sleep(10 * time.Minute) // bubble
				if got := a.carried(id); got > most || got < most-1 {
					t.Errorf("looked %d times, want %d", got, most)
				}
			})
		})
	}
}

// TestOvertaken: of several roll-overs, the newest is carried out. What was done
// for one that is left stays in its report.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		done := make(map[string]int)
		complete := ""
		a.answer = func(o store.Order) store.Report {
			if o.ID == complete {
				return store.Report{Sessions: 5, Done: 5}
			}
			done[o.ID]++
			return store.Report{Sessions: 5, Done: min(done[o.ID], 2)}
		}
		complete = "0"
		first := rotation()
		first.ID = complete
		a.give(first)
		ahead := rotation() // from a node whose clock is
		ahead.At = session.MilliOf(time.Now().Add(30 * time.Second))
		second := a.give(ahead).Order
		elsewhere := rotation()
		elsewhere.App = "else"
		third := a.give(elsewhere).Order.ID
		time.Sleep(5 * time.Second) // bubble
		newest := a.give(rotation()).Order
		if newest.At <= second.At {
			t.Errorf("the newest is of %d, the one before of %d", newest.At, second.At)
		}
		before := a.carried(second.ID)
		time.Sleep(10 * time.Second) // bubble
		if got := a.carried(second.ID); got != before {
			t.Errorf("the one that was overtaken was looked at %d times more", got-before)
		}
		if a.carried(newest.ID) < 10 || a.carried(third) < 10 {
			t.Errorf("looked at the newest %d times, at another project's %d times", a.carried(newest.ID), a.carried(third))
		}
		a.Book.mu.RLock()
		if len(a.rolling) != 2 {
			t.Errorf("%d roll-overs are still looked at, want one for each project", len(a.rolling))
		}
		a.Book.mu.RUnlock()
		for id, want := range map[string]store.Report{
			complete:  {Node: "a", Sessions: 5, Done: 5},
			second.ID: {Node: "a", Sessions: 5, Done: 2, Note: overtaken},
			newest.ID: {Node: "a", Sessions: 5, Done: 2},
		} {
			if _, reports := b.got(id); reports["a"] != want {
				t.Errorf("%s: the board has %+v, want %+v", id, reports["a"], want)
			}
		}

		// A node that starts carries out the newest only.
		c := start(t, b, "c")
		if got := c.carried(second.ID) + c.carried(complete); got != 0 || c.carried(newest.ID) != 1 {
			t.Errorf("a new node carried out old ones %d times, the newest %d times", got, c.carried(newest.ID))
		}
		if _, reports := b.got(second.ID); reports["c"].Note != overtaken {
			t.Errorf("a new node says %+v", reports["c"])
		}
	})
}

// TestOvertakenGoesOn: a roll-over that was overtaken by one that does not count any
// more is carried out again.
func TestOvertakenGoesOn(t *testing.T) {
	for _, how := range []string{"lifted", "over", "lifted before it was seen"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := start(t, newBoard(), "a")
				a.answer = func(store.Order) store.Report { return store.Report{Sessions: 2, Done: 1} }
				id := a.give(rotation()).Order.ID
				o := rotation()
				o.Until = session.SecOf(time.Now().Add(10 * time.Second))
				newer := a.give(o).Order.ID
				if how != "lifted before it was seen" {
					time.Sleep(5 * time.Second) // bubble
				}
				if how != "over" {
					if err := a.Lift(t.Context(), "app", newer); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Second) // bubble
				before := a.carried(id)
				time.Sleep(5 * time.Second) // bubble
				if got := a.carried(id) - before; got < 4 || got > 6 {
					t.Errorf("looked at %d times in 5 s", got)
				}
				if r, err := a.Get(t.Context(), "app", id); err != nil || r.Nodes[0].Note != "" {
					t.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}

// TestRollOversGoLast: an order that waits beside roll-overs is the next, whether it
// was given here or elsewhere, and they do not starve each other.
func TestRollOversGoLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		a.answer = func(o store.Order) store.Report {
			if o.Kind == store.OrderRotate {
				time.Sleep(10 * time.Second) // bubble
			}
			return store.Report{Sessions: 1, Done: 1}
		}
		order := func(kind store.OrderKind, app, id string) store.Order {
			o := revocation(7)
			o.Kind, o.App, o.ID = kind, app, id
			return o
		}
		give := func(n *node, o store.Order) {
			go func() {
				if err := give(n, o); err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(time.Second) // bubble
		}
		give(a, order(store.OrderRotate, "1", "runs"))
		give(a, order(store.OrderRotate, "2", "waits here"))
		give(other, order(store.OrderRotate, "3", "waits elsewhere"))
		give(a, order(store.OrderRevoke, "4", "given here"))
		give(other, order(store.OrderRevoke, "5", "given elsewhere"))
		time.Sleep(4 * time.Second) // bubble
		a.mu.Lock()
		before := len(a.applied)
		a.mu.Unlock()
		time.Sleep(30 * time.Second) // bubble
		a.mu.Lock()
		defer a.mu.Unlock()
		var got []string
		for i := range a.applied {
			got = append(got, a.applied[i].ID)
		}
		want := []string{"runs", "given here", "given elsewhere", "waits here", "waits elsewhere"}
		if before != 1 || !slices.Equal(got[:min(len(got), len(want))], want) {
			t.Errorf("carried out %d and then %v, want %v", before, got, want)
		}
	})
}

// TestTurn: one at a time, roll-overs after all others, each sort in its order.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn turn
		for range 2 { // it is free again afterwards
			var got []string
			turn.take(false)
			for i := range 6 {
				go func() {
					turn.take(i%2 == 0)
					got = append(got, fmt.Sprint(i))
					time.Sleep(time.Second) // bubble
					got = append(got, fmt.Sprint(i))
					turn.pass()
				}()
				synctest.Wait()
			}
			turn.pass()
			time.Sleep(time.Minute) // bubble
			turn.take(true)
			if want := []string{"1", "1", "3", "3", "5", "5", "0", "0", "2", "2", "4", "4"}; !slices.Equal(got, want) {
				t.Errorf("the turn of %v, want %v", got, want)
			}
			turn.pass()
		}
	})
}
