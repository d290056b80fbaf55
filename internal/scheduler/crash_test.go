package scheduler

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/store"
)

// crashPoints is how many operations on the store a node of TestCrashPoints lives
// for, at most: more than it needs for all that happens there.
const crashPoints = 40

// A node dies between any two operations on the store, or with an operation done
// whose answer it never saw. Whatever it was about to do, nothing stays stuck,
// nobody's call is harmed, and nothing goes untold.
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

	// A node that is long dead left some sessions behind.
	z := c.start("z")
	var left, back []*fakeClient
	for range 3 {
		p := &fakeClient{t: t, scheduler: z.Scheduler}
		p.join(20 * time.Second)
		left = append(left, p)
	}
	wait(time.Second)
	z.kill()

	// The one that is to die takes them over, and has clients of its own.
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
		p := &fakeClient{t: t, scheduler: a.Scheduler}
		p.join(20 * time.Second)
		switch i {
		case 0, 1:
			back = append(back, p)
		case 2:
			p.hands().Leave()
			left = append(left, p)
		case 3:
			wait(3 * time.Second)
			p.hands().Detach()
			left = append(left, p)
		case 4:
			p.hands().Detach()
			next := p.on(a)
			if err := next.resume(p); err != nil {
				t.Fatal(err)
			}
			if err := next.hands().Ack(next.got().joined.Seq); err != nil {
				t.Fatal(err)
			}
			back = append(back, next)
		case 5:
			left = append(left, p)
		}
	}
	wait(25 * time.Second)
	a.kill()

	// The others see to what it left.
	b, d := c.start("b"), c.start("d")
	for i, p := range back {
		to := []*member{b, d}[i%2]
		back[i] = p.move(to)
		if got, had := back[i].got().joined.Push.Seq, p.ticket().Seq; got <= had {
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
		p.hands().Leave()
	}
	wait(time.Minute)
	if n := c.stored() + b.open() + d.open(); n != 0 {
		t.Errorf("%d traces are left", n)
	}
	for _, p := range append(left, back...) {
		id := p.got().joined.Session
		// What a node did not live to tell the store of, nobody knows of.
		if c.count(id, store.DeliveredJoined) == 0 && c.count(id, store.DeliveredEnd) == 0 {
			continue
		}
		if c.count(id, store.DeliveredEnd) == 0 && n > 6 {
			t.Errorf("the end of %s went untold", id)
		}
	}
}
