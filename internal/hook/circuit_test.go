package hook

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		bound := time.Minute
		if n < 6 {
			bound = min(bound, time.Second<<n)
		}
		least, most := bound, time.Duration(0)
		for range 1000 {
			d := backoff(n, time.Minute)
			least, most = min(least, d), max(most, d)
		}
		if least < time.Second || most > bound {
			t.Errorf("after %d failures: %s to %s, want 1 s to %s", n, least, most, bound)
		}
		if spread := bound - time.Second; least > time.Second+spread/10 || most < bound-spread/10 {
			t.Errorf("after %d failures: %s to %s, hardly spread over 1 s to %s", n, least, most, bound)
		}
	}
}

func TestCircuit(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := circuit{trip: eventsTrip}
	begin := func() generation {
		t.Helper()
		if turn, at := c.turn(now); turn == hold {
			t.Fatalf("not allowed before %s", at)
		}
		return c.begin()
	}
	for range eventsTrip - 1 {
		if c.failed(begin(), now, 0, maxEventWait) {
			t.Fatal("opened early")
		}
	}
	c.succeeded(begin())
	for range eventsTrip - 1 {
		if c.failed(begin(), now, 0, maxEventWait) {
			t.Fatal("a success in between does not count")
		}
	}
	early, earlier, asked := begin(), begin(), begin()
	if !c.failed(begin(), now, 0, maxEventWait) {
		t.Fatal("not opened")
	}
	turn, until := c.turn(now)
	if turn != hold || until.Before(now.Add(time.Second)) || until.After(now.Add(2*time.Second)) {
		t.Fatalf("open until %s", until.Sub(now))
	}
	// A request that began before the circuit opened or closed has no effect, except that its Retry-After
	// extends the wait.
	if c.failed(early, now, 0, maxEventWait) || c.succeeded(earlier) {
		t.Error("changed by an old attempt")
	}
	c.failed(asked, now, time.Minute, maxEventWait)
	if turn, at := c.turn(now); turn != hold || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("open until %s", at.Sub(now))
	}
	now = now.Add(time.Minute)
	probe := begin()
	if turn, at := c.turn(now); turn != hold || !at.IsZero() {
		t.Error("two probes at once")
	}
	if c.failed(probe, now, 0, maxEventWait) {
		t.Error("opened twice")
	}
	if turn, at := c.turn(now); turn != hold || at.After(now.Add(4*time.Second)) {
		t.Errorf("second wait until %s", at.Sub(now))
	}
	c.hasten()
	if !c.succeeded(begin()) {
		t.Error("not closed")
	}
	for range 100 {
		begin()
	}
	if !c.failed(begin(), now, time.Hour, maxEventWait) {
		t.Error("not opened by Retry-After")
	}
	if turn, at := c.turn(now); turn != hold || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("open until %s", at.Sub(now))
	}
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
