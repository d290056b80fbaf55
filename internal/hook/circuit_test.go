package hook

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		bound := min(time.Minute, time.Second<<min(n, 10))
		least, most := bound, time.Duration(0)
		for range 1000 {
			d := backoff(n, time.Minute)
			least, most = min(least, d), max(most, d)
		}
		spread := (bound - time.Second) / 10
		if least < time.Second || least > time.Second+spread || most < bound-spread || most > bound {
			t.Errorf("after %d failures: %s to %s, want about 1 s to %s", n, least, most, bound)
		}
	}
}

func TestCircuit(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := circuit{trip: eventsTrip}
	fail := func(retryAfter time.Duration) (opened bool) {
		return c.failed(c.begin(), now, retryAfter, maxEventWait)
	}
	wantClosed := func(why string) {
		t.Helper()
		if turn, _ := c.turn(now); turn != ready {
			t.Fatal("open, ", why)
		}
	}
	wantOpen := func(least, most time.Duration) {
		t.Helper()
		if turn, at := c.turn(now); turn != hold || at.Before(now.Add(least)) || at.After(now.Add(most)) {
			t.Fatalf("open until %s, want %s to %s", at.Sub(now), least, most)
		}
	}
	for range eventsTrip - 1 {
		fail(0)
	}
	wantClosed("after too few failures")
	c.succeeded(c.begin())
	for range eventsTrip - 1 {
		fail(0)
	}
	wantClosed("although a success was in between")
	early, earlier, limited := c.begin(), c.begin(), c.begin()
	if !fail(0) {
		t.Fatal("not opened")
	}
	wantOpen(time.Second, 2*time.Second)

	// A request that began before the circuit opened or closed has no effect, except that its Retry-After
	// extends the wait.
	if c.failed(early, now, 0, maxEventWait) || c.succeeded(earlier) {
		t.Error("changed by an old attempt")
	}
	c.failed(limited, now, time.Minute, maxEventWait)
	wantOpen(time.Minute, time.Minute)

	now = now.Add(time.Minute)
	if turn, _ := c.turn(now); turn != probe {
		t.Error("no probe after the wait")
	}
	began := c.begin()
	if turn, at := c.turn(now); turn != hold || !at.IsZero() {
		t.Error("two probes at once")
	}
	if c.failed(began, now, 0, maxEventWait) {
		t.Error("opened twice")
	}
	wantOpen(time.Second, 4*time.Second)
	c.hasten()
	if turn, _ := c.turn(now); turn != probe || !c.succeeded(c.begin()) {
		t.Error("not closed by a probe")
	}
	wantClosed("although the probe succeeded")
	if !fail(time.Hour) {
		t.Error("not opened by a Retry-After")
	}
	wantOpen(time.Hour, time.Hour)
}

// The waits between probes grow up to the limit.
func TestCircuitWaits(t *testing.T) {
	for _, most := range []time.Duration{10 * time.Second, 5 * time.Minute} {
		now := time.Unix(1_800_000_000, 0)
		c := circuit{trip: eventsTrip}
		var worst time.Duration
		for range 200 {
			if turn, at := c.turn(now); turn == hold {
				worst = max(worst, at.Sub(now))
				now = at
			}
			c.failed(c.begin(), now, 0, most)
		}
		if worst > most || worst < most/2 {
			t.Errorf("waits up to %s, want up to %s", worst, most)
		}
	}
}
