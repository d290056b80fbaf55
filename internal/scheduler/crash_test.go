package scheduler

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/store"
)

// crashPoints is the largest number of operations on the store after which a node of
// TestCrashPoints dies. The events of the test need fewer.
const crashPoints = 40

// A node dies after any number of operations on the store, with or without receiving the answer to
// its last operation. All sessions are still renewed or ended, and all events are sent.
func TestCrashPoints(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := range crashPoints {
			if testing.Short() && n%4 != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d/late=%v", n, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { playCrash(t, int64(n), late) })
			})
		}
	}
}

func playCrash(t *testing.T, n int64, late bool) {
	c := newCluster(t)

	// The node z died earlier. Its sessions are in the store.
	z := c.start("z")
	var left, back []*fakeClient
	for range 3 {
		p := joined(t, z.Scheduler, 20*time.Second)
		left = append(left, p)
	}
	wait(time.Second)
	z.kill()

	// The node a, which will die, adopts the sessions of the node z, and has its own clients.
	a := c.start("a")
	var done atomic.Int64
	var dead atomic.Bool
	count := func() error {
		if dead.Load() || done.Add(1) > n {
			dead.Store(true)
			return errGone
		}
		return nil
	}
	a.link.mu.Lock()
	if late {
		a.link.fault = func() error {
			if dead.Load() {
				return errGone
			}
			return nil
		}
		a.link.after = count
	} else {
		a.link.fault = count
	}
	a.link.mu.Unlock()
	for i := range 6 {
		p := joined(t, a.Scheduler, 20*time.Second)
		switch i {
		case 0, 1:
			back = append(back, p)
		case 2:
			p.current().Leave()
			left = append(left, p)
		case 3:
			wait(3 * time.Second)
			p.current().Detach()
			left = append(left, p)
		case 4:
			p.current().Detach()
			next := p.move(a)
			back = append(back, next)
		case 5:
			left = append(left, p)
		}
	}
	wait(25 * time.Second)
	a.kill()

	// The nodes b and d adopt the sessions of the node a.
	b, d := c.start("b"), c.start("d")
	for i, p := range back {
		to := []*member{b, d}[i%2]
		back[i] = p.move(to)
		if got, had := back[i].got().joined.Push.Seq, p.resumeRequest().Seq; got <= had {
			t.Errorf("seq %d after %d", got, had)
		}
	}
	wait(time.Minute)
	for _, p := range back {
		if got := p.got(); got.ended != nil || got.lost || len(got.pushes) < 3 {
			t.Errorf("a call that came back is not served: %+v", got)
		}
	}
	wait(5 * time.Minute)
	if b.attached()+d.attached() != len(back) || c.stored() != len(back) {
		t.Errorf("%d and %d sessions attached, %d in the store; want %d", b.attached(), d.attached(), c.stored(), len(back))
	}
	for _, p := range back {
		p.current().Leave()
	}
	wait(time.Minute)
	check(t, c.stored()+b.open()+d.open() == 0, "%d traces are left", c.stored()+b.open()+d.open())
	for _, p := range append(left, back...) {
		id := p.got().joined.Session
		// The node crashed before it stored the session, so no other node knows of it or reports its end.
		if c.count(id, store.DeliveredJoined) == 0 && c.count(id, store.DeliveredEnd) == 0 {
			continue
		}
		check(t, c.count(id, store.DeliveredEnd) != 0 || n <= 6, "the end of %s went untold", id)
	}
}
