package redis

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"refresher/internal/store"
	"refresher/test/redistest"
)

// watcher is a running Watch.
type watcher struct {
	connected chan struct{}
	notices   chan string
	done      chan error
	stop      context.CancelFunc
}

// watching runs Watch, and returns once it is connected.
func (s *harness) watching(t *testing.T, node string) *watcher {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watcher{connected: make(chan struct{}, 8), notices: make(chan string, 8), done: make(chan error, 1), stop: stop}
	go func() {
		w.done <- s.Watch(ctx, node, func() { w.connected <- struct{}{} }, func(id string) { w.notices <- id })
	}()
	t.Cleanup(stop)
	await(t, w.connected)
	return w
}

// ended expects Watch to have returned nil, as it does when its context is done.
func (w *watcher) ended(t *testing.T) {
	t.Helper()
	w.stop()
	if err := await(t, w.done); err != nil {
		t.Errorf("watch: %v", err)
	}
}

// take saves a session for the node from, and acquires it for the node to.
func (s *harness) take(t *testing.T, id, from, to string) {
	t.Helper()
	r := record(id)
	r.Node = from
	s.saved(t, store.Done, r)
	s.acquired(t, id, 1, to)
}

func TestNotices(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	a, again, b := s.watching(t, "a"), s.watching(t, "a"), s.watching(t, "b")
	other := open(t, server.URL(), func(c *Config) { c.Prefix = "other" }).watching(t, "a")
	s.take(t, "acquired", "a", "b")
	s.take(t, "own", "a", "a")
	newer := record("saved")
	s.saved(t, store.Done, newer)
	newer.Epoch, newer.Node = 2, "c"
	s.saved(t, store.Done, newer)
	stale := record("saved")
	stale.Epoch, stale.Node = 1, "b"
	s.saved(t, store.CloseSuperseded, stale)
	s.take(t, "from b", "b", "a")
	for _, w := range []*watcher{a, again} {
		if first, second := await(t, w.notices), await(t, w.notices); first != "acquired" || second != "saved" {
			t.Errorf("a was told of %q and %q", first, second)
		}
	}
	if id := await(t, b.notices); id != "from b" {
		t.Errorf("b was told of %q", id)
	}
	for _, w := range []*watcher{a, again, b, other} {
		w.ended(t)
		if len(w.notices) > 0 {
			t.Errorf("told of %q too", <-w.notices)
		}
	}
}

// TestWatchBroken checks that Watch returns an error when its connection breaks, and that
// the next Watch calls connected again. The caller must then find out what changed in
// between.
func TestWatchBroken(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	for i, breaks := range []func(){
		func() { server.Do("CLIENT", "KILL", "TYPE", "pubsub") },
		func() { server.Kill(); server.Restart() },
	} {
		w := s.watching(t, "w")
		s.take(t, fmt.Sprintf("before %d", i), "w", "b")
		await(t, w.notices)
		breaks()
		if err := await(t, w.done); err == nil {
			t.Errorf("%d: no error", i)
		}
	}
	w := s.watching(t, "w")
	s.again(t)
	s.take(t, "after", "w", "b")
	if id := await(t, w.notices); id != "after" {
		t.Errorf("told of %s", id)
	}
	w.ended(t)
}

// TestWatchSilence checks that Watch sends a PING on a silent connection, and closes the
// connection if there is no answer.
func TestWatchSilence(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	s := open(t, "redis://"+proxy.Addr(), nil)
	s.silence = 200 * time.Millisecond
	asked := monitor(t, server, `"ping"`)
	w := s.watching(t, "a")
	for range 3 {
		await(t, asked)
	}
	s.take(t, "after a silence", "a", "b")
	await(t, w.notices)
	proxy.Blackhole()
	if err := await(t, w.done); err == nil {
		t.Error("no error, with no answer")
	}
	proxy.Heal()
	s.watching(t, "a").ended(t)
}

// monitor sends a value for every command in MONITOR's output that contains text.
func monitor(t *testing.T, server *redistest.Server, text string) <-chan string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", server.Addr())
	must(t, err)
	found, done := make(chan string, 64), make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("monitor: %s, %v", lines.Text(), lines.Err())
	}
	go func() {
		defer close(done)
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				found <- lines.Text()
			}
		}
	}()
	return found
}
