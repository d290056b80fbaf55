package events

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
	var c circuit
	begin := func() ticket {
		t.Helper()
		if ok, at := c.allows(now); !ok {
			t.Fatalf("not allowed before %s", at)
		}
		return c.begin()
	}
	for range tripAfter - 1 {
		if c.failed(begin(), now, answer{}) {
			t.Fatal("opened early")
		}
	}
	c.succeeded(begin())
	for range tripAfter - 1 {
		if c.failed(begin(), now, answer{}) {
			t.Fatal("a success in between does not count")
		}
	}
	early, earlier, asked := begin(), begin(), begin()
	if !c.failed(begin(), now, answer{}) {
		t.Fatal("not opened")
	}
	ok, until := c.allows(now)
	if ok || until.Before(now.Add(time.Second)) || until.After(now.Add(2*time.Second)) {
		t.Fatalf("open until %s", until.Sub(now))
	}
	// Attempts that were under way change nothing, but for what they were told.
	if c.failed(early, now, answer{}) || c.succeeded(earlier) {
		t.Error("changed by an old attempt")
	}
	c.failed(asked, now, answer{retryAfter: time.Minute})
	if ok, at := c.allows(now); ok || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("open until %s", at.Sub(now))
	}
	now = now.Add(time.Minute)
	probe := begin()
	if ok, at := c.allows(now); ok || !at.IsZero() {
		t.Error("two probes at once")
	}
	if c.failed(probe, now, answer{}) {
		t.Error("opened twice")
	}
	if ok, at := c.allows(now); ok || at.After(now.Add(4*time.Second)) {
		t.Errorf("second wait until %s", at.Sub(now))
	}
	c.hasten()
	if !c.succeeded(begin()) {
		t.Error("not closed")
	}
	for range 100 {
		begin()
	}
	if !c.failed(begin(), now, answer{retryAfter: time.Hour}) {
		t.Error("not opened by Retry-After")
	}
	if ok, at := c.allows(now); ok || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("open until %s", at.Sub(now))
	}
}

// TestCircuitWaits: what answers is tried sooner than what does not.
func TestCircuitWaits(t *testing.T) {
	for status, most := range map[int]time.Duration{
		0: 5 * time.Minute, 429: 5 * time.Minute, 502: 5 * time.Minute, 503: 5 * time.Minute, 504: 5 * time.Minute,
		302: 10 * time.Second, 401: 10 * time.Second, 404: 10 * time.Second, 500: 10 * time.Second,
	} {
		now := time.Unix(1_800_000_000, 0)
		var c circuit
		var worst time.Duration
		for range 200 {
			if ok, at := c.allows(now); !ok {
				worst = max(worst, at.Sub(now))
				now = at
			}
			c.failed(c.begin(), now, answer{status: status})
		}
		if worst > most || worst < most/2 {
			t.Errorf("%d: waits up to %s, want up to %s", status, worst, most)
		}
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var th throttle
	if skipped, ok := th.pass(now); !ok || skipped != 0 {
		t.Error("the first line was held back")
	}
	for range 5 {
		if _, ok := th.pass(now.Add(59 * time.Second)); ok {
			t.Error("a line too many")
		}
	}
	if skipped, ok := th.pass(now.Add(time.Minute)); !ok || skipped != 5 {
		t.Errorf("after a minute: %v, %d skipped", ok, skipped)
	}
}
