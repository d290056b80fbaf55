package limit

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLimiter(t testing.TB, c Config) *Limiter {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Rate: -1}, {Rate: math.Inf(1)}, {Rate: math.NaN()}, {Rate: 1, Burst: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
}

func TestUnlimited(t *testing.T) {
	l := newLimiter(t, Config{Burst: 1})
	for range 1000 {
		ok, after := l.Allow("ana")
		okAddr, afterAddr := l.AllowAddr(netip.Addr{})
		if !ok || !okAddr || after != 0 || afterAddr != 0 {
			t.Fatal("refused")
		}
	}
}

// After the burst, exactly Rate actions a second are allowed.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		config Config
		burst  int
		span   time.Duration
		within int // actions allowed within span after the burst
	}{
		{Config{Rate: 5}, 5, 10 * time.Second, 50},
		{Config{Rate: 5, Burst: 2}, 2, time.Second, 5},
		{Config{Rate: 0.5}, 1, 1999 * time.Millisecond, 0},
		{Config{Rate: 2.5}, 3, 2 * time.Second, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, c.config)
			burst, within := 0, 0
			for ok, _ := l.Allow("ana"); ok; ok, _ = l.Allow("ana") {
				burst++
			}
			for start := time.Now(); time.Since(start) < c.span; {
				time.Sleep(time.Millisecond) // bubble
				if ok, _ := l.Allow("ana"); ok {
					within++
				}
			}
			if burst != c.burst || within != c.within {
				t.Errorf("%+v: burst of %d, then %d within %v", c, burst, within, c.span)
			}
		})
	}
}

// An action is allowed after retryAfter, and not more than 2 ms before.
func TestRetryAfter(t *testing.T) {
	for _, rate := range []float64{0.001, 0.7, 3, 99.9, 1e6} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, Config{Rate: rate, Burst: 3})
			for range 20 {
				ok, after := l.Allow("ana")
				if ok {
					continue
				}
				if early := after - 2*time.Millisecond; early > 0 {
					time.Sleep(early) // bubble
					if ok, _ := l.Allow("ana"); ok {
						t.Errorf("rate %v: allowed %v before its time", rate, after-early)
					}
					after -= early
				}
				time.Sleep(after) // bubble
				if ok, _ := l.Allow("ana"); !ok {
					t.Errorf("rate %v: refused after retryAfter", rate)
				}
			}
		})
	}
}

func TestRetryAfterTinyRate(t *testing.T) {
	l := newLimiter(t, Config{Rate: math.SmallestNonzeroFloat64})
	l.Allow("ana")
	if ok, after := l.Allow("ana"); ok || after < maxWait {
		t.Errorf("got %v, %v", ok, after)
	}
}

// TestKeys checks which addresses share a bucket.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		a, b string // empty if the client has no address
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"", "", true},
	} {
		l := newLimiter(t, Config{Rate: 1e-9})
		a, _ := netip.ParseAddr(c.a)
		b, _ := netip.ParseAddr(c.b)
		l.AllowAddr(a)
		if ok, _ := l.AllowAddr(b); ok == c.same {
			t.Errorf("%s and %s: allowed %v", c.a, c.b, ok)
		}
	}
}

// TestMemory floods a Limiter with addresses: the Limiter keeps a limited number of them, and does not evict a client
// that stays active.
func TestMemory(t *testing.T) {
	l := newLimiter(t, Config{Rate: 1e-9})
	l.buckets.Resize(1600)
	l.Allow("ana")
	for i := range 50_000 {
		l.AllowAddr(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if i%100 == 0 {
			if ok, _ := l.Allow("ana"); ok {
				t.Fatalf("forgotten after %d others", i)
			}
		}
	}
	if n := l.buckets.Len(); n != 1600 {
		t.Errorf("remembers %d keys", n)
	}
	forgotten, _ := l.AllowAddr(netip.MustParseAddr("10.0.0.0"))
	recent, _ := l.AllowAddr(netip.MustParseAddr("10.0.195.79")) // the last
	if !forgotten || recent {
		t.Errorf("the first is allowed: %v, the last: %v", forgotten, recent)
	}
}

func TestNoAllocation(t *testing.T) {
	l := newLimiter(t, Config{Rate: 1e-9})
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")
	if n := testing.AllocsPerRun(1000, func() {
		l.Allow("ana")
		l.AllowAddr(v4)
		l.AllowAddr(v6)
	}); n != 0 {
		t.Errorf("%v allocations for known keys", n)
	}
}

// Of many concurrent actions, exactly the burst is allowed.
func TestConcurrent(t *testing.T) {
	l := newLimiter(t, Config{Rate: 1e-9, Burst: 100})
	var passed atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				if ok, _ := l.Allow("ana"); ok {
					passed.Add(1)
				}
				l.Allow(fmt.Sprint(i, j%50))
			}
		})
	}
	all.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d passed, want 100", passed.Load())
	}
}
