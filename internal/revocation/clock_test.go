package revocation

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockSetAheadAndBack: revocations that were removed or ignored because the clock was
// ahead have effect again when the clock is corrected.
func TestClockSetAheadAndBack(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"for a moment": pollEvery, "for longer": time.Minute, "for no time": 0} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *shared) {
				other := start(t, s, "b")
				a, ahead := withClock(t, s)
				first, _ := other.add(revocation(7))
				synctest.Wait()
				a.wantRevoked(7, true)
				ahead.Store(int64(2 * time.Hour))
				time.Sleep(wrong) // bubble
				a.join("S", 8)
				other.add(revocation(8))
				synctest.Wait()
				if _, _, err := a.Get(t.Context(), "app", first.ID); err == nil {
					t.Fatal("the clock that is ahead changes nothing: this tests nothing")
				}
				a.link.set(cutOff)
				ahead.Store(0)
				time.Sleep(time.Second) // bubble
				a.link.set(connect)
				time.Sleep(maxRetry) // bubble
				a.wantRevoked(7, true)
				a.wantRevoked(8, true)
				if len(a.open()) != 0 {
					t.Error("the session goes on")
				}
			})
		})
	}
}

// TestClockSetBackAPart: a revocation has effect again if the clock is set back before the
// revocation's end. The store is read in full only when this happens.
func TestClockSetBackAPart(t *testing.T) {
	inBubble(t, func(t *testing.T, s *shared) {
		a, ahead := withClock(t, s)
		short, long := revocation(7), revocation(8)
		long.Until += 3600
		a.add(short)
		a.add(long)
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
			time.Sleep(2 * expireEvery) // bubble
			a.wantRevoked(7, step.short)
			a.wantRevoked(8, step.long)
		}
		s.wantReads(t, 0, func() { time.Sleep(time.Minute) }) // bubble
	})
}

// TestClockAheadCostsNothing: a node whose clock stays ahead does not read the store in
// full again and again.
func TestClockAheadCostsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *shared) {
		other := start(t, s, "b")
		_, ahead := withClock(t, s)
		ahead.Store(int64(2 * time.Hour))
		other.add(revocation(7))
		time.Sleep(time.Second)                                    // bubble
		s.wantReads(t, 0, func() { time.Sleep(10 * time.Minute) }) // bubble
	})
}

// withClock starts a node. The node's wall clock is ahead of the test's clock by the returned number of
// nanoseconds, which the test may change.
func withClock(t *testing.T, s *shared) (*node, *atomic.Int64) {
	n := newNode(t, s, "a")
	var ahead atomic.Int64
	n.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	n.run()
	synctest.Wait()
	return n, &ahead
}
