package limit

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
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
	for name, c := range map[string]Config{
		"negative rate":  {Rate: -1},
		"infinite":       {Rate: math.Inf(1)},
		"not a number":   {Rate: math.NaN()},
		"negative burst": {Rate: 1, Burst: -1},
	} {
		if l, err := New(c); err == nil || l != nil {
			t.Errorf("%s: got %v, %v", name, l, err)
		}
	}
}

func TestUnlimited(t *testing.T) {
	l := newLimiter(t, Config{Burst: 1})
	for range 1000 {
		if ok, _ := l.Allow("ana"); !ok {
			t.Fatal("refused")
		}
		if ok, _ := l.AllowAddr(netip.Addr{}); !ok {
			t.Fatal("refused")
		}
	}
	if n := remembered(l); n != 0 {
		t.Errorf("remembers %d keys", n)
	}
}

// After the burst, exactly Rate actions a second are allowed.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		config Config
		burst  int
		within map[time.Duration]int // actions allowed within each time after the burst, tried every millisecond
	}{
		{Config{Rate: 5}, 5, map[time.Duration]int{time.Second: 5, 10 * time.Second: 50}},
		{Config{Rate: 5, Burst: 2}, 2, map[time.Duration]int{time.Second: 5, 10 * time.Second: 50}},
		{Config{Rate: 0.5}, 1, map[time.Duration]int{1999 * time.Millisecond: 0, 10 * time.Second: 5}},
		{Config{Rate: 2.5}, 3, map[time.Duration]int{2 * time.Second: 5}},
	} {
		for span, want := range c.within {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(t, c.config)
				burst := 0
				for ok, _ := l.Allow("ana"); ok; ok, _ = l.Allow("ana") {
					burst++
				}
				if burst != c.burst {
					t.Errorf("%+v: burst of %d, want %d", c.config, burst, c.burst)
				}
				got := 0
				for start := time.Now(); time.Since(start) < span; {
					time.Sleep(time.Millisecond) // bubble
					if ok, _ := l.Allow("ana"); ok {
						got++
					}
				}
				if got != want {
					t.Errorf("%+v: %d within %v, want %d", c.config, got, span, want)
				}
			})
		}
	}
}

// An action is allowed after retryAfter, and not much sooner.
func TestRetryAfter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := Config{
			Rate:  rapid.Float64Range(0.001, 1e6).Draw(r, "rate"),
			Burst: rapid.IntRange(1, 100).Draw(r, "burst"),
		}
		pauses := rapid.SliceOfN(rapid.Int64Range(0, int64(10*time.Second)), 1, 20).Draw(r, "pauses")
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(t, c)
			for range 3 * c.Burst {
				l.Allow("ana")
			}
			for _, pause := range pauses {
				time.Sleep(time.Duration(pause)) // bubble
				ok, after := l.Allow("ana")
				if ok {
					if after != 0 {
						t.Fatalf("allowed, but only after %v", after)
					}
					continue
				}
				if least := time.Duration(float64(time.Second) / c.Rate); after <= 0 || after > least+time.Millisecond {
					t.Fatalf("retry after %v, want at most %v", after, least)
				}
				if early := after - 2*time.Millisecond; early > 0 {
					time.Sleep(early) // bubble
					if ok, _ := l.Allow("ana"); ok {
						t.Fatalf("allowed %v before its time", after-early)
					}
					after -= early
				}
				time.Sleep(after) // bubble
				if ok, _ := l.Allow("ana"); !ok {
					t.Fatal("refused after the time that it was told")
				}
			}
		})
	})
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
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.2", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"2001:db8:0:1::1", "2001:db9:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"192.0.2.1", "2001:db8::c000:201", false},
	} {
		l := newLimiter(t, Config{Rate: 1e-9})
		l.AllowAddr(netip.MustParseAddr(c.a))
		if ok, _ := l.AllowAddr(netip.MustParseAddr(c.b)); ok == c.same {
			t.Errorf("%s and %s: allowed %v", c.a, c.b, ok)
		}
	}
	l := newLimiter(t, Config{Rate: 1e-9})
	l.AllowAddr(netip.Addr{})
	if ok, _ := l.AllowAddr(netip.Addr{}); ok {
		t.Error("clients without an address have a bucket each")
	}
	l.Allow("ana")
	if ok, _ := l.Allow("bob"); !ok {
		t.Error("two subjects share a bucket")
	}
}

// TestMemory floods a Limiter with addresses: it keeps at most maxKeys, and does not evict a client
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
	if n := remembered(l); n != 1600 {
		t.Errorf("remembers %d keys", n)
	}
	forgotten, _ := l.AllowAddr(netip.MustParseAddr("10.0.0.0"))
	recent, _ := l.AllowAddr(netip.MustParseAddr("10.0.195.79")) // the last
	if !forgotten || recent {
		t.Errorf("the first is allowed: %v, the last: %v", forgotten, recent)
	}
}

// TestOneKey checks a Limiter with room for one key.
func TestOneKey(t *testing.T) {
	l := newLimiter(t, Config{Rate: 1e-9})
	l.buckets.Resize(1)
	for i := range 1000 {
		key := fmt.Sprint(i)
		l.Allow(key)
		if ok, _ := l.Allow(key); ok {
			t.Fatal("forgotten at once")
		}
	}
	if n := remembered(l); n != 1 {
		t.Errorf("remembers %d keys, want 1", n)
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

// Concurrent actions pass no more than the burst allows.
func TestConcurrent(t *testing.T) {
	l := newLimiter(t, Config{Rate: 1e-9, Burst: 100})
	var passed [8]int
	var all sync.WaitGroup
	for i := range passed {
		all.Go(func() {
			for j := range 2000 {
				if ok, _ := l.Allow("ana"); ok {
					passed[i]++
				}
				l.Allow(fmt.Sprint(i, j%50))
			}
		})
	}
	all.Wait()
	total := 0
	for _, n := range passed {
		total += n
	}
	if total != 100 {
		t.Errorf("%d passed, want 100", total)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := newLimiter(b, Config{Rate: 1000})
	addrs := make([]netip.Addr, 1<<12)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.AllowAddr(addrs[i%len(addrs)])
		}
	})
}

// remembered returns the number of keys in a Limiter.
func remembered(l *Limiter) int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buckets.Len()
}
