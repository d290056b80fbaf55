package redis

import (
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// atOnce is how many clients return at the same time: as many as a node acquires
// concurrently.
const atOnce = 24

// storm acquires sessions for atOnce clients at once, and returns the errors.
func (s *harness) storm(t *testing.T) (errs []error) {
	t.Helper()
	results := make(chan error, atOnce)
	var running sync.WaitGroup
	for n := range atOnce {
		running.Go(func() {
			_, err := s.Acquire(within(t), store.AcquireRequest{Session: idIn(n, 0), Epoch: 1, Node: "a"})
			results <- err
		})
	}
	running.Wait()
	close(results)
	for err := range results {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// A server with TLS closes connections that are idle for its timeout. No command that is
// sent after such a pause is lost.
func TestIdleConnectionsThatTheServerCloses(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1", "timeout 1", "loglevel verbose")
	s := open(t, server.URL(), secured(a))
	for round := range 3 {
		began := time.Now()
		if errs := s.storm(t); len(errs) > 0 {
			t.Errorf("round %d: %d of %d failed, such as: %v", round, len(errs), atOnce, errs[0])
		}
		idle := int(s.client.PoolStats().TotalConns)
		if idle < 2 {
			t.Fatalf("round %d: %d connections", round, idle)
		}
		server.AwaitLog(began, slices.Repeat([]string{"Closing idle client"}, idle)...)
	}
}

// A load balancer resets connections that were idle for too long.
func TestIdleConnectionsThatABalancerResets(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1")
	proxy := redistest.StartProxy(t, server.Addr())
	s := open(t, "rediss://"+proxy.Addr(), secured(a))
	for round := range 3 {
		if errs := s.storm(t); len(errs) > 0 {
			t.Errorf("round %d: %d of %d failed, such as: %v", round, len(errs), atOnce, errs[0])
		}
		proxy.Cut()
		proxy.Heal()
	}
}

// The check of an idle connection ends even if the bytes on its socket belong to TLS and
// no reply follows.
func TestLookAtAnIdleConnectionEnds(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1")
	config := Config{URL: server.URL()}
	secured(a)(&config)
	u, err := url.Parse(config.URL)
	must(t, err)
	secure, err := newSecurity(&config, u)
	must(t, err)
	conn, err := dialer(secure)(within(t), "tcp", server.Addr())
	must(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	stop := time.AfterFunc(patience, func() { conn.Close() })
	defer stop.Stop()
	began := time.Now()
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}
