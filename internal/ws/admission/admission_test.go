package admission

import (
	"testing"
	"time"

	"refresher/internal/session"
)

var start = time.Unix(1_800_000_000, 0)

// half replaces the random spread: it returns half of the duration.
func half(d time.Duration) time.Duration { return d / 2 }

// in returns a token expiry that is the given number of seconds after the time `start`.
func in(seconds int) session.UnixSec { return session.SecOf(start) + session.UnixSec(seconds) }

// busy returns an Admission of ten clients a second whose burst of ten is used up.
func busy(t *testing.T) *Admission {
	t.Helper()
	a := New(10, half)
	for i := range 10 {
		if d := a.Delay(start, 0); d != 0 {
			t.Fatalf("client %d waits %s", i, d)
		}
	}
	return a
}

// Clients above the rate get consecutive times to retry, or a random delay if all times within MaxDelay are taken. A
// delay of more than a second is at most a third of the time until the client's tokens expire.
func TestDelay(t *testing.T) {
	for name, c := range map[string]struct {
		slots   int // number of retry times that other clients have reserved
		expires session.UnixSec
		want    time.Duration
	}{
		"the first slot is at once":     {0, 0, time.Millisecond},
		"the next one at the rate":      {20, 0, 2 * time.Second},
		"the last one":                  {300, 0, MaxDelay},
		"none is free":                  {301, 0, MaxDelay / 2},
		"tokens with enough life":       {20, in(3600), 2 * time.Second},
		"tokens that end soon":          {200, in(9), 3 * time.Second},
		"tokens that end very soon":     {200, in(1), minDelay},
		"tokens that have run out":      {200, in(-60), minDelay},
		"run out, and a slot is nearer": {2, in(-60), 200 * time.Millisecond},
	} {
		a := busy(t)
		for range c.slots {
			a.Delay(start, 0)
		}
		if got := a.Delay(start, c.expires); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Clients with expired tokens get the shortest delay, but per second only as many as the admission rate. The others get
// the same delay as clients without tokens.
func TestExpiredClientsHaveARate(t *testing.T) {
	a := busy(t)
	for range 100 {
		a.Delay(start, 0)
	}
	soon := 0
	for range 20 {
		if a.Delay(start, in(-60)) == minDelay {
			soon++
		}
	}
	if soon != 10 {
		t.Errorf("%d of 20 come back after %s, want 10", soon, minDelay)
	}
}

func TestAdmissionAtTheRate(t *testing.T) {
	var none *Admission
	if d := none.Delay(start, 0); d != 0 {
		t.Errorf("without a limit: %s", d)
	}
	a, admitted := busy(t), 0
	for i := range 100 {
		if a.Delay(start.Add(time.Duration(i+1)*100*time.Millisecond), 0) == 0 {
			admitted++
		}
	}
	if admitted < 99 {
		t.Errorf("%d of 100 are admitted", admitted)
	}
}
