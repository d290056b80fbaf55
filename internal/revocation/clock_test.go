package revocation

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestClockSetAheadAndBack: revocations that a node removed or ignored because its clock was ahead
// have effect again when the clock is corrected. Meanwhile the node does not read the store in full
// again and again.
func TestClockSetAheadAndBack(t *testing.T) {
	for _, wrong := range []time.Duration{0, pollEvery, 10 * time.Minute} {
		withStore(t, func(t *testing.T, s *shared) {
			other := start(t, s, "b")
			a, ahead := withClock(t, s)
			other.add(revocation(7))
			synctest.Wait()
			ahead.Store(int64(2 * time.Hour))
			a.join("S", 8)
			other.add(revocation(8))
			time.Sleep(min(wrong, time.Second))                                 // bubble
			s.wantReads(t, 0, func() { time.Sleep(max(0, wrong-time.Second)) }) // bubble
			a.wantRevoked(7, false)
			a.wantRevoked(8, false)
			ahead.Store(0)
			time.Sleep(time.Second) // bubble
			a.wantRevoked(7, true)
			a.wantRevoked(8, true)
			if len(a.open()) != 0 {
				t.Error("the session goes on")
			}
		})
	}
}

// TestClockSetBackAPart: a revocation has effect again if the clock is set back to a time before
// the revocation's end. Only then is the store read in full.
func TestClockSetBackAPart(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
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
		} {
			ahead.Store(int64(step.ahead))
			time.Sleep(2 * expireEvery) // bubble
			a.wantRevoked(7, step.short)
			a.wantRevoked(8, step.long)
		}
		s.wantReads(t, 0, func() { time.Sleep(time.Minute) }) // bubble
	})
}

// withClock starts a node whose wall clock is ahead of the fake clock by the returned number
// of nanoseconds. The test may change the number.
func withClock(t *testing.T, s *shared) (*node, *atomic.Int64) {
	n := newNode(t, s, "a")
	var ahead atomic.Int64
	n.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	n.run()
	synctest.Wait()
	return n, &ahead
}
