package redis

import (
	"strconv"
	"testing"
	"time"

	"refresher/internal/store"
)

// TestStatusExpires checks that Redis removes a node's statuses long after its lease has
// ended.
func TestStatusExpires(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	keep := func(what string) {
		t.Helper()
		ms, err := strconv.ParseInt(server.Do("PTTL", s.keys.status("a")), 10, 64)
		if left := time.Duration(ms) * time.Millisecond; err != nil || left <= store.NodeKept-patience || left > store.NodeKept {
			t.Errorf("after %s, it is kept for %s, %v", what, left, err)
		}
	}
	must(t, s.SetStatus(within(t), "a", "topic", "ready"))
	keep("SetStatus")
	server.Do("PEXPIRE", s.keys.status("a"), "5000")
	s.swept(t, "b")
	if left := server.Do("PTTL", s.keys.status("a")); len(left) > 4 {
		t.Errorf("kept for %s ms longer by another node's sweep", left)
	}
	s.swept(t, "a")
	keep("a sweep")
}

// TestLeaseByHand checks that a lease in a form that no node writes is an error, not a
// crash.
func TestLeaseByHand(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	server.Do("ZADD", s.keys.leases, "inf", "forever", "-inf", "never")
	s.swept(t, "a")
	got, err := s.Statuses(within(t), "topic")
	if _, never := got["never"]; err != nil || never {
		t.Errorf("statuses %v, %v", got, err)
	}
	server.Do("SET", s.keys.leases, "no set")
	if _, err := s.sweep(within(t), "a"); err == nil {
		t.Error("swept without a lease")
	}
	if _, err := s.Statuses(within(t), "topic"); err == nil {
		t.Error("statuses without leases")
	}
}
