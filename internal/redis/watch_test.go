package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"refresher/internal/store"
	"refresher/test/redistest"
)

type watcher struct {
	notices chan string
	done    chan error
	stop    context.CancelFunc
}

func (s *harness) watching(t *testing.T, node string) *watcher {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	connected := make(chan struct{}, 8)
	w := &watcher{notices: make(chan string, 8), done: make(chan error, 1), stop: stop}
	go func() {
		w.done <- s.Watch(ctx, node, func() { connected <- struct{}{} }, func(id string) { w.notices <- id })
	}()
	t.Cleanup(stop)
	await(t, connected)
	return w
}

func (w *watcher) ended(t *testing.T) {
	t.Helper()
	w.stop()
	if err := await(t, w.done); err != nil {
		t.Errorf("watch: %v", err)
	}
}

func (s *harness) take(t *testing.T, id, from, to string) {
	t.Helper()
	r := record(id)
	r.Node = from
	s.saved(t, store.Done, r)
	s.acquired(t, id, 1, to)
}

func TestWatchEndsWhenItsConnectionBreaks(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	s := open(t, "redis://"+proxy.Addr(), nil)
	s.silence = 200 * time.Millisecond
	for i, breaks := range []func(){
		func() { server.Do("CLIENT", "KILL", "TYPE", "pubsub") },
		func() { server.Kill(); server.Restart() },
		proxy.Blackhole,
	} {
		w := s.watching(t, "w")
		id := fmt.Sprintf("S%d", i)
		s.take(t, id, "w", "b")
		if got := await(t, w.notices); got != id {
			t.Errorf("told of %s, want %s", got, id)
		}
		breaks()
		if err := await(t, w.done); err == nil {
			t.Errorf("%d: no error", i)
		}
		proxy.Heal()
		s.again(t)
	}
	s.watching(t, "w").ended(t)
}

func TestWatchWhileWritesAreRefused(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	server.RefuseWrites(redistest.SaveFailed)
	s.silence = 400 * time.Millisecond
	w := s.watching(t, "a")
	select {
	case err := <-w.done:
		t.Fatalf("watch ended: %v", err)
	case <-time.After(3 * s.silence): // the watch has sent several PINGs by now
	}
	server.Do("PUBLISH", s.keys.channel+"a", "S")
	if got := await(t, w.notices); got != "S" {
		t.Errorf("told of %q", got)
	}
	w.ended(t)
}
