package redis

import (
	"strings"
	"testing"
	"time"

	"refresher/test/redistest"
)

// A store that is opened while the server refuses every write reads the orders,
// whether or not the board has a generation yet.
func TestOrdersAreReadWhileWritesAreRefused(t *testing.T) {
	t.Parallel()
	for _, why := range redistest.Refusals {
		server := redistest.Start(t)
		for _, given := range []int{0, 1} {
			if given > 0 {
				if err := open(t, server.URL(), nil).Give(within(t), order("O")); err != nil {
					t.Fatal(err)
				}
			}
			server.RefuseWrites(why)
			s := open(t, server.URL(), nil)
			orders, version, err := s.Orders(within(t), "")
			if err != nil || len(orders) != given || version == "" {
				t.Errorf("%s: %d orders, version %q, %v; want %d", why, len(orders), version, err, given)
			}
			if _, again, err := s.Orders(within(t), version); err != nil || again != version {
				t.Errorf("%s: version %q, then %q, %v", why, version, again, err)
			}
			if _, err := s.sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), string(why)) {
				t.Errorf("%s: sweep: %v", why, err)
			}
			server.AcceptWrites(why)
			s.allWork(t)
			if _, later, err := s.Orders(within(t), version); err != nil || later == version {
				t.Errorf("%s: version %q after other orders, %v", why, later, err)
			}
			server.Do("FLUSHALL")
		}
	}
}

// A subscription lives on at a server that answers PING with an error because it
// could not write its snapshot to disk.
func TestWatchWhileWritesAreRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.RefuseWrites(redistest.SaveFailed)
	s := open(t, server.URL(), nil)
	s.silence = 50 * time.Millisecond
	w := s.watching(t, "a")
	select {
	case err := <-w.done:
		t.Fatalf("watch ended: %v", err)
	case <-time.After(10 * s.silence): // it was asked several times whether it lives
	}
	server.Do("PUBLISH", s.keys.channel+"a", "S")
	if got := await(t, w.notices); got != "S" {
		t.Errorf("told of %q", got)
	}
	w.ended(t)
}
