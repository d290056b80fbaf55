package orders

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/store"
)

// TestConverges: whatever is cut off, lost and started anew, in the end all nodes
// and the board know the same. No order is lost that a node lived to tell of, and
// nothing that was lifted comes back.
func TestConverges(t *testing.T) {
	mishaps := []string{"give", "give", "lift", "cut off", "hang", "reach", "lose the board", "restart"}
	steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{
			what: rapid.SampledFrom(mishaps).Draw(rt, "what"), node: rapid.IntRange(0, 2).Draw(rt, "node"),
			after: time.Duration(rapid.IntRange(0, 3000).Draw(rt, "after")) * time.Millisecond,
		}
	}), 1, 30)
	rapid.Check(t, func(rt *rapid.T) {
		story := steps.Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) { converge(t, story) })
		if t.Failed() {
			rt.Fatalf("the story was %+v", story)
		}
	})
}

// step is something that happens, some time after what happened before.
type step struct {
	what  string
	node  int
	after time.Duration
}

func converge(t *testing.T, story []step) {
	const settled = boardTimeout + 2*maxRetry
	b := newBoard()
	nodes := []*node{start(t, b, "0"), start(t, b, "1"), start(t, b, "2")}
	var given, lifted []string
	for i, s := range story {
		time.Sleep(s.after) // bubble
		n := nodes[s.node]
		switch s.what {
		case "give":
			r, err := n.Give(t.Context(), revocation(i))
			if err != nil && !errors.Is(err, store.ErrNotDurable) {
				t.Fatal(err)
			}
			given = append(given, r.Order.ID)
		case "lift":
			orders, _ := n.List("app", store.OrderRevoke, "", 1)
			if len(orders) == 0 {
				break
			}
			if err := n.Lift(t.Context(), "app", orders[0].ID); err != nil && !errors.Is(err, store.ErrNotDurable) {
				t.Fatal(err)
			}
			lifted = append(lifted, orders[0].ID)
		case "cut off":
			n.link.set(true, false)
		case "hang":
			n.link.set(true, true)
		case "reach":
			n.link.set(false, false)
		case "lose the board":
			b.lose()
		case "restart":
			n.link.set(false, false)
			time.Sleep(settled) // bubble
			n.stop()
			nodes[s.node] = start(t, b, fmt.Sprintf("%d.%d", s.node, i))
		}
	}
	for _, n := range nodes {
		n.link.set(false, false)
	}
	time.Sleep(settled) // bubble
	synctest.Wait()
	for _, id := range given {
		want := slices.Contains(lifted, id)
		if o, _ := b.got(id); o.ID != id || o.Lifted != want {
			t.Errorf("order %s on the board: %+v; want lifted %v", id, o, want)
		}
		for _, n := range nodes {
			if r, err := n.Get(t.Context(), "app", id); err != nil || r.Order.Lifted != want {
				t.Errorf("order %s at %s: %+v, %v; want lifted %v", id, n.name, r.Order, err, want)
			}
		}
	}
	for _, n := range nodes {
		if len(n.unsaved) != 0 || len(n.untold) != 0 || len(n.news) != 0 {
			t.Errorf("%s has something left to do: %+v", n.name, n.Book)
		}
	}
}
