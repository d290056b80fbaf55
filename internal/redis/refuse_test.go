package redis

import (
	"strings"
	"testing"

	"refresher/internal/store"
	"refresher/test/redistest"
)

func TestRevocationsAreReadWhileWritesAreRefused(t *testing.T) {
	t.Parallel()
	for _, why := range redistest.Refusals {
		server, before := startStore(t)
		before.put(t, revocation("R"))
		server.RefuseWrites(why)
		s := open(t, server.URL(), nil)
		ids, version := s.revoked(t)
		if len(ids) != 1 || version == (store.RevocationsVersion{}) {
			t.Errorf("%s: revocations %q, version %v", why, ids, version)
		}
		if err := s.PutRevocations(within(t), revocation("S")); err == nil || !strings.Contains(err.Error(), string(why)) {
			t.Errorf("%s: put: %v", why, err)
		}
		if _, err := s.sweep(within(t), "a"); err == nil || !strings.Contains(err.Error(), string(why)) {
			t.Errorf("%s: sweep: %v", why, err)
		}
		server.AcceptWrites(why)
		s.allWork(t)
	}
}

func TestScriptsThatTheServerForgotAreSentAgain(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	first, second := overdue(idIn(3, 1)), overdue(idIn(3, 2))
	s.saved(t, store.Done, first)
	server.Do("SCRIPT", "FLUSH")
	first.Version++
	s.saved(t, store.Done, first, second) // saves the first record without its grant, and the second record with it
	server.Do("SCRIPT", "FLUSH")
	s.acquired(t, first.Session, 1, "b")
	server.Do("SCRIPT", "FLUSH")
	if claimed := s.swept(t, "c"); len(claimed) != 1 || claimed[second.Session].Node != "c" {
		t.Errorf("claimed %+v, want %s", claimed, second.Session)
	}
}
