package redis

import (
	"strings"
	"testing"
	"time"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// A store that is opened while the server refuses every write still reads the
// revocations.
func TestRevocationsAreReadWhileWritesAreRefused(t *testing.T) {
	t.Parallel()
	for _, why := range redistest.Refusals {
		server := redistest.Start(t)
		for _, put := range []int{0, 1} {
			if put > 0 {
				must(t, open(t, server.URL(), nil).PutRevocations(within(t), revocation("R")))
			}
			server.RefuseWrites(why)
			s := open(t, server.URL(), nil)
			all, version, err := s.Revocations(within(t), store.RevocationsVersion{})
			if err != nil || len(all) != put || version == (store.RevocationsVersion{}) {
				t.Errorf("%s: %d revocations, version %v, %v; want %d", why, len(all), version, err, put)
			}
			if _, again, err := s.Revocations(within(t), version); err != nil || again != version {
				t.Errorf("%s: version %v, then %v, %v", why, version, again, err)
			}
			if err := s.PutRevocations(within(t), revocation("S")); err == nil || !strings.Contains(err.Error(), string(why)) {
				t.Errorf("%s: put: %v", why, err)
			}
			if _, err := s.sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), string(why)) {
				t.Errorf("%s: sweep: %v", why, err)
			}
			server.AcceptWrites(why)
			s.allWork(t)
			if _, later, err := s.Revocations(within(t), version); err != nil || later == version {
				t.Errorf("%s: version %v after another revocation, %v", why, later, err)
			}
			server.Do("FLUSHALL")
		}
	}
}

// A subscription continues at a server that answers PING with an error because the server
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
	case <-time.After(10 * s.silence): // the watch has sent several PINGs by now
	}
	server.Do("PUBLISH", s.keys.channel+"a", "S")
	if got := await(t, w.notices); got != "S" {
		t.Errorf("told of %q", got)
	}
	w.ended(t)
}
