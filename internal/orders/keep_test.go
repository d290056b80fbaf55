package orders

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/store"
)

// TestClockSetAheadAndBack: what was forgotten, or not taken over, since its time
// seemed to be over, counts again when the clock is set right.
func TestClockSetAheadAndBack(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"for a moment": askEvery, "for longer": time.Minute, "for no time": 0,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				other := start(t, b, "b")
				a := newNode(t, b, "a")
				var ahead atomic.Int64
				a.config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				a.run()
				synctest.Wait()
				first := other.give(revocation(7)).Order.ID
				synctest.Wait()
				a.wantRevokes(7, true)

				ahead.Store(int64(2 * time.Hour))
				time.Sleep(wrong) // bubble
				second := other.give(revocation(8)).Order.ID
				synctest.Wait()
				if _, err := a.Get(t.Context(), "app", first); err == nil {
					t.Fatal("the clock that is ahead changes nothing: this tests nothing")
				}
				ahead.Store(0)
				time.Sleep(askEvery) // bubble
				synctest.Wait()
				a.wantRevokes(7, true)
				a.wantRevokes(8, true)
				if a.carried(second) != 1 {
					t.Errorf("carried out %d times", a.carried(second))
				}
			})
		})
	}
}

// TestClockSetBackAPart: orders count again from when their end is ahead again.
func TestClockSetBackAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		a := newNode(t, b, "a")
		var ahead atomic.Int64
		a.config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		a.run()
		synctest.Wait()
		short, long := revocation(7), revocation(8)
		long.Until += 3600
		a.give(short)
		a.give(long)
		for _, step := range []struct {
			ahead       time.Duration
			short, long bool
		}{
			{3 * time.Hour, false, false},
			{time.Hour, false, true},
			{0, true, true},
			{time.Hour, false, true},
			{0, true, true},
		} {
			ahead.Store(int64(step.ahead))
			time.Sleep(2 * askEvery) // bubble
			synctest.Wait()
			a.wantRevokes(7, step.short)
			a.wantRevokes(8, step.long)
		}
		b.mu.Lock()
		before := b.full
		b.mu.Unlock()
		time.Sleep(10 * askEvery) // bubble
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.full != before {
			t.Errorf("read in full %d times more", b.full-before)
		}
	})
}

// TestForgottenMeanwhile: what is forgotten while it is carried out, or waits for
// that, and is learned anew, is carried out for the new entry only.
func TestForgottenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newNode(t, newBoard(), "a")
		var ahead atomic.Int64
		a.config.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		a.answer = func(o store.Order) store.Report {
			if o.Kind == store.OrderRotate {
				time.Sleep(20 * time.Second) // bubble
			}
			return store.Report{Sessions: 2, Done: 1}
		}
		a.run()
		synctest.Wait()
		roll, revoke := rotation(), revocation(7)
		roll.OverMs = time.Hour.Milliseconds()
		roll.ID, revoke.ID = "roll", "revoke"
		for _, o := range []store.Order{roll, revoke} {
			go func() {
				if err := give(a, o); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		ahead.Store(int64(2 * time.Hour))
		time.Sleep(2 * askEvery) // bubble
		ahead.Store(0)
		time.Sleep(50 * time.Second) // bubble
		if a.carried("roll") != 2 || a.carried("revoke") != 1 {
			t.Errorf("carried out %d and %d times", a.carried("roll"), a.carried("revoke"))
		}
		a.Book.mu.RLock()
		defer a.Book.mu.RUnlock()
		if len(a.rolling) != 1 {
			t.Errorf("%d roll-overs go on, want one", len(a.rolling))
		}
	})
}

// TestClockAheadCostsNothing: a node whose clock stays ahead does not read the
// board in full on and on.
func TestClockAheadCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		other, a := start(t, b, "b"), newNode(t, b, "a")
		a.config.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		a.run()
		other.give(revocation(7))
		synctest.Wait()
		b.mu.Lock()
		before := b.full
		b.mu.Unlock()
		time.Sleep(10 * time.Minute) // bubble
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.full != before {
			t.Errorf("read in full %d times more", b.full-before)
		}
	})
}
