package webhook

import (
	"testing"
	"time"
)

const (
	tripAfter = 8
	maxWait   = 5 * time.Minute
)

func TestBackoff(t *testing.T) {
	for n := 1; n < 100; n++ {
		bound := time.Minute
		if n < 6 {
			bound = min(bound, time.Second<<n)
		}
		least, most := bound, time.Duration(0)
		for range 1000 {
			d := Backoff(n, time.Minute)
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
	c := Circuit{Trip: tripAfter}
	begin := func() Ticket {
		t.Helper()
		if ok, at := c.Allows(now); !ok {
			t.Fatalf("not allowed before %s", at)
		}
		return c.Begin()
	}
	for range tripAfter - 1 {
		if c.Failed(begin(), now, 0, maxWait) {
			t.Fatal("opened early")
		}
	}
	c.Succeeded(begin())
	for range tripAfter - 1 {
		if c.Failed(begin(), now, 0, maxWait) {
			t.Fatal("a success in between does not count")
		}
	}
	early, earlier, asked := begin(), begin(), begin()
	if !c.Failed(begin(), now, 0, maxWait) {
		t.Fatal("not opened")
	}
	ok, until := c.Allows(now)
	if ok || until.Before(now.Add(time.Second)) || until.After(now.Add(2*time.Second)) {
		t.Fatalf("open until %s", until.Sub(now))
	}
	// Attempts that were under way change nothing, but for what they were told.
	if c.Failed(early, now, 0, maxWait) || c.Succeeded(earlier) {
		t.Error("changed by an old attempt")
	}
	c.Failed(asked, now, time.Minute, maxWait)
	if ok, at := c.Allows(now); ok || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("open until %s", at.Sub(now))
	}
	now = now.Add(time.Minute)
	probe := begin()
	if ok, at := c.Allows(now); ok || !at.IsZero() {
		t.Error("two probes at once")
	}
	if c.Failed(probe, now, 0, maxWait) {
		t.Error("opened twice")
	}
	if ok, at := c.Allows(now); ok || at.After(now.Add(4*time.Second)) {
		t.Errorf("second wait until %s", at.Sub(now))
	}
	c.Hasten()
	if !c.Succeeded(begin()) {
		t.Error("not closed")
	}
	for range 100 {
		begin()
	}
	if !c.Failed(begin(), now, time.Hour, maxWait) {
		t.Error("not opened by Retry-After")
	}
	if ok, at := c.Allows(now); ok || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("open until %s", at.Sub(now))
	}
}

// TestCircuitWaits: the waits grow to the limit, and not beyond.
func TestCircuitWaits(t *testing.T) {
	for _, most := range []time.Duration{10 * time.Second, 5 * time.Minute} {
		now := time.Unix(1_800_000_000, 0)
		c := Circuit{Trip: tripAfter}
		var worst time.Duration
		for range 200 {
			if ok, at := c.Allows(now); !ok {
				worst = max(worst, at.Sub(now))
				now = at
			}
			c.Failed(c.Begin(), now, 0, most)
		}
		if worst > most || worst < most/2 {
			t.Errorf("waits up to %s, want up to %s", worst, most)
		}
	}
}
