package redis

import (
	"net/url"
	"sync"
	"testing"
	"time"

	"refresher/internal/store"
	"refresher/test/redistest"
)

func TestIdleConnectionsThatABalancerResets(t *testing.T) {
	t.Parallel()
	a := redistest.NewAuthority(t)
	server := redistest.StartTLSFor(t, a, "127.0.0.1")
	proxy := redistest.StartProxy(t, server.Addr())
	s := open(t, "rediss://"+proxy.Addr(), secured(a))
	for range 2 {
		var running sync.WaitGroup
		for n := range 24 {
			running.Go(func() {
				if _, err := s.Acquire(within(t), store.AcquireRequest{Session: idIn(n, 0), Epoch: 1, Node: "a"}); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
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
