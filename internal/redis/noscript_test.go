package redis

import (
	"testing"

	"refresher/internal/store"
)

// TestForgottenScripts makes the server forget the scripts before each call, as a restart
// or a failover does.
func TestForgottenScripts(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	flush := func() { server.Do("SCRIPT", "FLUSH") }
	first, second := overdue(idIn(3, 1)), overdue(idIn(3, 2))
	s.saved(t, store.Done, first)
	flush()
	first.Version++
	s.saved(t, store.Done, first, second) // saves the changed values of one record, and the whole of the other
	flush()
	held, err := s.Acquire(within(t), store.AcquireRequest{Session: first.Session, Epoch: 1, Node: "b", Attach: true})
	if err != nil || held.Epoch != 2 || !held.Known {
		t.Fatalf("acquire: %+v, %v", held, err)
	}
	flush()
	if claimed := s.swept(t, "c"); len(claimed) != 1 || claimed[second.Session].Node != "c" {
		t.Errorf("claimed %+v, want %s", claimed, second.Session)
	}
	// The sweep loads the scripts that it uses, and no others.
	flush()
	s.swept(t, "c")
	s.allWork(t)
}
