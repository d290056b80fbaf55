package scheduler

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/store"
)

// crashPoints is a number of operations on the store that TestCrashPoints does not reach. The test
// is repeated for each n below crashPoints, and a node dies after n operations.
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
	left := joinedMany(t, z.Scheduler, 3, 20*time.Second)
	wait(time.Second)
	z.kill()

	// The node a, which will die, adopts the sessions of the node z, and has its own clients.
	a := c.start("a")
	var done atomic.Int64
	gone := func() error {
		if done.Load() > n {
			return errGone
		}
		return nil
	}
	count := func(request) error {
		done.Add(1)
		return gone()
	}
	a.link.set(func() {
		if late {
			a.link.fault, a.link.after = func(request) error { return gone() }, count
		} else {
			a.link.fault = count
		}
	})
	back := joinedMany(t, a.Scheduler, 2, 20*time.Second)
	own := joinedMany(t, a.Scheduler, 4, 20*time.Second)
	own[0].current().Leave()
	wait(3 * time.Second)
	own[1].current().Detach()
	own[2].current().Detach()
	back = append(back, own[2].move(a))
	left = append(left, own[0], own[1], own[3])
	wait(25 * time.Second)
	a.kill()

	// The nodes b and d adopt the sessions of the node a.
	b, d := c.start("b"), c.start("d")
	for i, p := range back {
		back[i] = p.move([]*member{b, d}[i%2])
		check(t, back[i].newest().Seq > p.newest().Seq, "seq %d after %d", back[i].newest().Seq, p.newest().Seq)
	}
	wait(time.Minute)
	for _, p := range back {
		p.wantServed(3)
	}
	wait(5 * time.Minute)
	equal(t, "attached sessions", b.attached()+d.attached(), len(back))
	open, _ := c.store.Len()
	equal(t, "sessions in the store", open, len(back))
	for _, p := range back {
		p.current().Leave()
	}
	wait(time.Minute)
	open, _ = c.store.Len()
	equal(t, "sessions that are left", open+b.open()+d.open(), 0)
	for _, p := range append(left, back...) {
		// If the node died before it stored the session, no other node knows of the session, so no event
		// of its end is sent.
		stored := c.count(p.id(), store.DeliveredJoined) > 0 && n > 6
		check(t, !stored || c.count(p.id(), store.DeliveredEnd) > 0, "no event of the end of %s", p.id())
	}
}
