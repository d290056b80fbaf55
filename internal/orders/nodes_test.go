package orders

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

// TestGive: an order given at one node counts on all, and all say what they did.
func TestGive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		nodes := []*node{start(t, b, "a"), start(t, b, "b"), start(t, b, "c")}
		nodes[1].answer = func(store.Order) store.Report {
			return store.Report{Sessions: 3, Done: 1, Failed: 1, AccessEndsAt: 99}
		}
		began := time.Now()
		r := nodes[0].give(revocation(7))
		if took := time.Since(began); took > 2*lookEvery {
			t.Errorf("Give took %s", took)
		}
		want := Result{
			Order: r.Order,
			Tally: store.Tally{Sessions: 5, Done: 3, Failed: 1, AccessEndsAt: 99, Nodes: []store.Report{
				{Node: "a", Sessions: 1, Done: 1},
				{Node: "b", Sessions: 3, Done: 1, Failed: 1, AccessEndsAt: 99},
				{Node: "c", Sessions: 1, Done: 1},
			}},
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if o := r.Order; o.ID == "" || o.At != session.MilliOf(began) || o.By != "a" || o.Format != store.Format {
			t.Errorf("the order was not filled in: %+v", o)
		}
		time.Sleep(10 * time.Second) // bubble
		for _, n := range nodes {
			n.wantRevokes(7, true)
			n.wantRevokes(8, false)
			if got := n.carried(r.Order.ID); got != 1 {
				t.Errorf("%s carried it out %d times", n.name, got)
			}
			if got, err := n.Get(t.Context(), "app", r.Order.ID); err != nil || cmp.Diff(want, got) != "" {
				t.Errorf("Get at %s: %+v, %v", n.name, got, err)
			}
		}
		if err := nodes[2].Lift(t.Context(), "app", r.Order.ID); err != nil {
			t.Fatal(err)
		}
		nodes[2].wantRevokes(7, false)
		synctest.Wait()
		nodes[0].wantRevokes(7, false)
	})
}

// TestSilent: Give does not wait for ever for a node that does not say anything.
func TestSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, slow, c := start(t, b, "a"), start(t, b, "b"), start(t, b, "c")
		slow.answer = func(store.Order) store.Report {
			time.Sleep(2 * time.Second) // bubble
			return store.Report{}
		}
		began := time.Now()
		r := a.give(revocation(7))
		if took := time.Since(began); took != patience {
			t.Errorf("Give took %s, want %s", took, patience)
		}
		if want := []string{"b"}; !slices.Equal(r.Silent, want) || r.Partial || len(r.Nodes) != 2 {
			t.Errorf("result %+v, want %v silent", r, want)
		}
		slow.wantRevokes(7, true)   // it counts before it is carried out
		time.Sleep(2 * time.Second) // bubble
		if r, err := c.Get(t.Context(), "app", r.Order.ID); err != nil || len(r.Silent) != 0 || len(r.Nodes) != 3 {
			t.Errorf("afterwards: %+v, %v", r, err)
		}
		// One whose caller does not wait is told what is known.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		r, err := a.Give(ctx, revocation(8))
		if took := time.Since(began); err != nil || took != 100*time.Millisecond || !slices.Equal(r.Silent, []string{"b"}) {
			t.Errorf("%+v, %v after %s", r, err, took)
		}
		time.Sleep(2 * time.Second) // bubble
	})
}

// TestGiveWhileAway: an order counts here at once, and everywhere when the board
// is back.
func TestGiveWhileAway(t *testing.T) {
	for name, hang := range map[string]bool{"refused": false, "no answer": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				a, other := start(t, b, "a"), start(t, b, "b")
				a.link.set(true, hang)
				began := time.Now()
				r, err := a.Give(t.Context(), revocation(7))
				if !errors.Is(err, store.ErrNotDurable) || time.Since(began) > patience {
					t.Fatalf("%v after %s, want store.ErrNotDurable within %s", err, time.Since(began), patience)
				}
				if !r.Partial || r.Done != 1 || len(r.Nodes) != 1 {
					t.Errorf("result %+v, want this node's", r)
				}
				if got, err := a.Get(t.Context(), "app", r.Order.ID); err != nil || cmp.Diff(r, got) != "" {
					t.Errorf("Get: %+v, %v", got, err)
				}
				time.Sleep(time.Minute) // bubble
				a.wantRevokes(7, true)
				other.wantRevokes(7, false)
				wantMetric(t, a, "refresher_orders_unsaved", 1)
				a.link.set(false, false)
				time.Sleep(maxRetry + boardTimeout) // bubble
				other.wantRevokes(7, true)
				wantMetric(t, a, "refresher_orders_unsaved", 0)
				if r, err := other.Get(t.Context(), "app", r.Order.ID); err != nil || r.Done != 2 || len(r.Silent) != 0 {
					t.Errorf("on the other node: %+v, %v", r, err)
				}
				log := a.log.String()
				if strings.Count(log, "level=WARN") != 1 || strings.Count(log, "is back") != 1 {
					t.Errorf("want one warning and one line when it is back:\n%s", log)
				}
				if got := testutil.ToFloat64(a.metrics.given.WithLabelValues("revoke", "unsaved")); got != 1 {
					t.Errorf("%v given and not saved", got)
				}
			})
		})
	}
}

// TestLiftWhileAway: what was lifted while the board was away stays lifted.
func TestLiftWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		id := a.give(revocation(7)).Order.ID
		a.link.set(true, false)
		for range 2 { // again, since it is not durable yet
			if err := a.Lift(t.Context(), "app", id); !errors.Is(err, store.ErrNotDurable) {
				t.Fatalf("Lift: %v, want store.ErrNotDurable", err)
			}
		}
		time.Sleep(time.Minute) // bubble
		a.wantRevokes(7, false)
		other.wantRevokes(7, true)
		a.link.set(false, false)
		time.Sleep(maxRetry) // bubble
		other.wantRevokes(7, false)
		if err := a.Lift(t.Context(), "app", id); err != nil {
			t.Error(err)
		}
		if r, err := other.Get(t.Context(), "app", id); err != nil || !r.Order.Lifted {
			t.Errorf("Get: %+v, %v", r, err)
		}
	})
}

// TestEmptied: a board that lost its data is given it again, what was lifted and
// what was done included.
func TestEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		stands, lifted := a.give(revocation(7)).Order.ID, a.give(revocation(8)).Order.ID
		if err := other.Lift(t.Context(), "app", lifted); err != nil {
			t.Fatal(err)
		}
		for _, after := range []time.Duration{0, 500 * time.Millisecond, time.Minute} {
			time.Sleep(after) // bubble
			b.lose()
			time.Sleep(askEvery) // bubble
			if o, reports := b.got(stands); o.ID != stands || o.Lifted || len(reports) == 0 {
				t.Errorf("%s later the board has %+v, %v", after, o, reports)
			}
			if o, _ := b.got(lifted); !o.Lifted {
				t.Errorf("%s later the board has %+v", after, o)
			}
		}
		// A new node has it all, though the others are gone.
		a.stop()
		other.stop()
		third := start(t, b, "c")
		third.wantRevokes(7, true)
		third.wantRevokes(8, false)
		if r, err := third.Get(t.Context(), "app", lifted); err != nil || len(r.Silent) != 0 {
			t.Errorf("nobody has to say anything of a lifted order: %+v, %v", r, err)
		}
	})
}

// TestRestart: a node knows the orders before it says so, and carries them out.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		if !a.Loaded() {
			t.Fatal("the board is there, and was not read")
		}
		id := a.give(revocation(7)).Order.ID
		a.stop()
		next := newNode(t, b, "a2")
		next.link.set(true, false)
		next.run()
		time.Sleep(time.Minute) // bubble
		if next.Loaded() {
			t.Fatal("Loaded before the board was read")
		}
		if _, err := next.Get(t.Context(), "app", id); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("Get before the board was read: %v", err)
		}
		next.link.set(false, false)
		time.Sleep(maxRetry) // bubble
		if !next.Loaded() {
			t.Fatal("not Loaded")
		}
		next.wantRevokes(7, true)
		if _, reports := b.got(id); next.carried(id) != 1 || reports["a2"].Done != 1 {
			t.Errorf("carried out %d times, reported %v", next.carried(id), reports)
		}
	})
}

// TestStopSaves: what the board was not told of goes to it at the end.
func TestStopSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		a.link.set(true, false)
		r, err := a.Give(t.Context(), revocation(7))
		if !errors.Is(err, store.ErrNotDurable) {
			t.Fatal(err)
		}
		synctest.Wait()
		a.link.set(false, false)
		a.stop()
		if o, _ := b.got(r.Order.ID); o.ID == "" {
			t.Error("the order is lost")
		}
	})
}

// TestMissedNotice: an order is learned without a notice, too.
func TestMissedNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.deaf = true
		a, other := start(t, b, "a"), start(t, b, "b")
		time.Sleep(askEvery / 2) // bubble
		a.give(revocation(7))
		time.Sleep(askEvery) // bubble
		other.wantRevokes(7, true)
		b.mu.Lock()
		readings := b.readings
		b.mu.Unlock()
		time.Sleep(time.Minute) // bubble
		b.mu.Lock()
		defer b.mu.Unlock()
		if got, most := b.readings-readings, 2*int(time.Minute/askEvery)+2; got > most {
			t.Errorf("%d readings in a minute, want %d", got, most)
		}
	})
}

// TestLiftPrevails: a node that was cut off since before the lifting gives an
// emptied board its order back, and it stays lifted all the same.
func TestLiftPrevails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, cut := start(t, b, "a"), start(t, b, "b")
		id := a.give(revocation(7)).Order.ID
		cut.link.set(true, false)
		if err := a.Lift(t.Context(), "app", id); err != nil {
			t.Fatal(err)
		}
		a.link.set(true, false)
		b.lose()
		cut.link.set(false, false)
		time.Sleep(2 * maxRetry) // bubble
		if o, _ := b.got(id); o.ID == "" || o.Lifted {
			t.Fatalf("the board has %+v, want it standing", o)
		}
		a.link.set(false, false)
		time.Sleep(2 * maxRetry) // bubble
		for _, n := range []*node{a, cut} {
			n.wantRevokes(7, false)
		}
		if o, _ := b.got(id); !o.Lifted {
			t.Error("on the board it stands")
		}
	})
}

// TestEnd: an order counts until its time is over, and is forgotten everywhere.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		o := revocation(7)
		o.Until = session.SecOf(time.Now().Add(10 * time.Second))
		id := a.give(o).Order.ID
		time.Sleep(time.Until(o.Until.Time()) - time.Nanosecond) // bubble
		other.wantRevokes(7, true)
		time.Sleep(time.Nanosecond) // bubble
		other.wantRevokes(7, false)
		if _, err := a.Get(t.Context(), "app", id); !errors.Is(err, ErrUnknown) {
			t.Errorf("Get: %v, want ErrUnknown", err)
		}
		time.Sleep(askEvery) // bubble
		synctest.Wait()
		for _, n := range []*node{a, other} {
			if len(n.entries) != 0 || len(n.projects) != 0 || n.earliest != never || len(n.standing) == 0 || n.standing[o.Kind] != 0 {
				t.Errorf("%s still has %+v", n.name, n.Book)
			}
		}
	})
}

// TestLeaky: a board that keeps nothing, since it thinks that the order's time is
// over, is not told of it on and on.
func TestLeaky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.leaky = true
		a := start(t, b, "a")
		a.give(revocation(7))
		time.Sleep(time.Minute) // bubble
		synctest.Wait()
		if got := a.link.puts; got < 10 || got > 61 {
			t.Errorf("put on the board %d times in a minute", got)
		}
	})
}

// TestLostAtOnce: the board may lose an order in the moment in which it got it.
func TestLostAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		id := a.give(revocation(7)).Order.ID
		b.lose()
		time.Sleep(askEvery) // bubble
		if o, _ := b.got(id); o.ID != id {
			t.Error("it was not given again")
		}
	})
}

// TestShortOutage: the board is told soon after it is back.
func TestShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		a.link.set(true, false)
		if _, err := a.Give(t.Context(), revocation(7)); !errors.Is(err, store.ErrNotDurable) {
			t.Fatal(err)
		}
		time.Sleep(minRetry / 2) // bubble
		a.link.set(false, false)
		time.Sleep(2 * minRetry) // bubble
		other.wantRevokes(7, true)
	})
}

// TestReportsRefused: a report is written when the board takes it, and not tried
// all the time until then.
func TestReportsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a, other := start(t, b, "a"), start(t, b, "b")
		other.link.mu.Lock()
		other.link.mute = true
		other.link.mu.Unlock()
		r := a.give(revocation(7))
		if !slices.Equal(r.Silent, []string{"b"}) {
			t.Errorf("result %+v", r)
		}
		time.Sleep(time.Minute) // bubble
		other.link.mu.Lock()
		other.link.mute = false
		if other.link.said > 40 {
			t.Errorf("tried %d times in a minute", other.link.said)
		}
		other.link.mu.Unlock()
		time.Sleep(maxRetry) // bubble
		if r, err := a.Get(t.Context(), "app", r.Order.ID); err != nil || r.Done != 2 || len(r.Silent) != 0 {
			t.Errorf("afterwards: %+v, %v", r, err)
		}
	})
}

// TestSlowHere: what the other nodes have done shows, though this one took longer.
func TestSlowHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		start(t, b, "b")
		a.answer = func(store.Order) store.Report {
			time.Sleep(2 * patience) // bubble
			return store.Report{Sessions: 1, Done: 1}
		}
		if r := a.give(revocation(7)); r.Partial || r.Done != 2 {
			t.Errorf("result %+v", r)
		}
	})
}

// TestSlowBoard: a board that takes long is not read without a pause, however
// often it changes.
func TestSlowBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := start(t, b, "a")
		a.link.mu.Lock()
		a.link.lag = 50 * time.Millisecond
		a.link.mu.Unlock()
		before := b.readings
		for range 1000 {
			time.Sleep(10 * time.Millisecond) // bubble
			b.lose()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if got := b.readings - before; got < 10 || got > 10_000/150+1 {
			t.Errorf("%d readings in 10 s", got)
		}
	})
}

// TestMemory: the store that is embedded in a node will do.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := store.NewMemory(time.Now)
		var nodes []*node
		for _, name := range []string{"a", "b"} {
			n := newNode(t, newBoard(), name)
			n.config.Board = m
			if _, err := m.Sweep(t.Context(), name, store.Claim); err != nil {
				t.Error(err)
			}
			nodes = append(nodes, n.run())
		}
		synctest.Wait()
		r := nodes[0].give(revocation(7))
		if r.Done != 2 || len(r.Silent) != 0 || r.Partial {
			t.Errorf("result %+v", r)
		}
		nodes[1].wantRevokes(7, true)
		m.Lose()
		time.Sleep(askEvery + putAgain) // bubble
		if orders, _, err := m.Orders(t.Context(), ""); err != nil || !slices.Equal(orders, []store.Order{r.Order}) {
			t.Errorf("after it was emptied it has %+v, %v", orders, err)
		}
		if err := nodes[1].Lift(t.Context(), "app", r.Order.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		nodes[0].wantRevokes(7, false)
	})
}

func wantMetric(t *testing.T, n *node, name string, want float64) {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != want {
				t.Errorf("%s at %s is %v, want %v", name, n.name, got, want)
			}
			return
		}
	}
	t.Errorf("there is no %s", name)
}
