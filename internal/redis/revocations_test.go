package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

func (s *harness) revoked(t *testing.T) (ids []string, version store.RevocationsVersion) {
	t.Helper()
	all, _, version, err := s.Revocations(within(t), store.RevocationsVersion{})
	must(t, err)
	for i := range all {
		ids = append(ids, all[i].ID)
	}
	slices.Sort(ids)
	return ids, version
}

func (s *harness) put(t *testing.T, revocations ...store.Revocation) {
	t.Helper()
	must(t, s.PutRevocations(within(t), revocations...))
}

// TestRevocationsVersion checks that the version changes when revocations may have been
// lost, and only then. A change after the loss has a higher Seq than all changes before the
// loss: otherwise a node's old status would seem to confirm changes that the node has not seen.
func TestRevocationsVersion(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	other := openAt(t, server.UnixURL())
	put := func() { s.put(t, revocation("R"), revocation("S")) }
	for range 5 {
		s.put(t, revocation(rand.Text()))
	}
	seen := make(map[store.RevocationsVersion]bool)
	for _, test := range []struct {
		name string
		do   func()
		same bool
	}{
		{"put", put, false},
		{"nothing", func() {}, true},
		{"the same again", put, true},
		{"scripts lost", func() { server.Do("SCRIPT", "FLUSH") }, true},
		{"FLUSHALL", func() { server.Do("FLUSHALL") }, false},
		{"the same as before that", put, false},
		{"one removed by hand", func() { server.Do("HDEL", s.keys.revocations.all, "R") }, false},
		{"all removed by hand", func() { server.Do("DEL", s.keys.revocations.all) }, false},
	} {
		_, was := s.revoked(t)
		seen[was] = true
		s.pass(10 * time.Millisecond)
		test.do()
		_, now := s.revoked(t)
		if _, theirs := other.revoked(t); seen[now] != test.same || theirs != now {
			t.Errorf("%s: the version was %v, is %v, and %v at another node", test.name, was, now, theirs)
		}
		if strings.HasPrefix(test.name, "the same as before") {
			for before := range seen {
				if now.Seq <= before.Seq {
					t.Errorf("change %d after %d", now.Seq, before.Seq)
				}
			}
		}
	}
}

func TestGarbageRevocations(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	s.put(t, revocation("R"))
	garbage := []string{
		``, `1 1`, `1 1 {`, `1 1 {}`, "\x00\xff 1 2",
		`x 1 {"app":"a","user":"7","id":"X","since":1,"until":4102448400,"version":1}`,
		`1 2 {"app":"a","user":"7","id":"X","since":1,"until":4102448400,"version":1}`,
		`1 1 {"app":"a","user":"7","id":"Y","since":1,"until":4102448400,"version":1}`,
		`1 1 {"app":"","user":"7","id":"X","since":1,"until":4102448400,"version":1}`,
		`1 1 {"app":"a","id":"X","since":1,"until":4102448400,"version":1}`,
		`1 1 {"app":"a","user":"7","id":"X","since":1,"until":"soon","version":1}`,
		`1 1 {"app":"a","user":"7","id":"X","since":1,"until":4102448400000,"version":1}`,
	}
	for _, text := range garbage {
		server.Do("HSET", s.keys.revocations.all, "X", text)
		if ids, _ := s.revoked(t); !slices.Equal(ids, []string{"R"}) {
			t.Errorf("%q: revocations %q", text, ids)
		}
		if p, err := s.RevocationProgress(within(t), "X"); err != nil {
			t.Errorf("%q: progress %+v, %v", text, p, err)
		}
		if got := server.Do("HGET", s.keys.revocations.all, "X"); got != text {
			t.Errorf("%q is %q now", text, got)
		}
	}
	if lines := s.log.lines("revocation=X "); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
	// A published change in a form that no node uses makes the node read all revocations.
	for _, payload := range append(garbage, "a 1 1\nb 2 2\n{", "a 1 1", "\n", "\n\n") {
		if c := s.change(payload); len(c.Changed) != 0 {
			t.Errorf("%q: %+v", payload, c)
		}
	}
	server.Do("DEL", s.keys.revocations.all)
	server.Do("SET", s.keys.revocations.all, "x")
	if _, _, _, err := s.Revocations(within(t), store.RevocationsVersion{}); err == nil {
		t.Error("a key of the wrong type is read as no revocations")
	}
}

// A revocation that was put after the version was read is not part of that version.
func TestRevocationsAfterTheVersion(t *testing.T) {
	server, s := startStore(t)
	s.put(t, revocation("A"))
	before := server.Do("GET", s.keys.revocations.version)
	s.put(t, revocation("B"))
	server.Do("SET", s.keys.revocations.version, before)
	all, later, _, err := s.Revocations(within(t), store.RevocationsVersion{})
	if err != nil || len(all) != 1 || all[0].ID != "A" || len(later) != 1 || later[0].ID != "B" {
		t.Errorf("read %+v, and later %+v, %v", all, later, err)
	}
	server.Do("DEL", s.keys.revocations.version)
	if all, later, _, err = s.Revocations(within(t), store.RevocationsVersion{}); err != nil || len(all) != 2 || later != nil {
		t.Errorf("without a version: %+v, and later %+v, %v", all, later, err)
	}
}

func TestRevocationsLeaveNothing(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	var all []store.Revocation
	for i := range 2 * expireBatch {
		r := revocation("R" + strconv.Itoa(i))
		r.Until = session.SecOf(begin) + 100
		all = append(all, r)
	}
	s.put(t, all...)
	soon := all[7]
	soon.Until = session.SecOf(time.Now()) + 100 // Redis removes the count of ended sessions by the server's clock, not by the test's clock
	must(t, s.PutEnded(within(t), soon, "a", store.Ended{Sessions: 1}))
	if ttl, err := strconv.Atoi(server.Do("TTL", s.keys.revocations.ended+"R7")); err != nil || ttl > 101 || ttl < 40 {
		t.Errorf("what was ended lives for %d s, %v", ttl, err)
	}
	s.pass(100 * time.Second)
	if ids, _ := s.revoked(t); len(ids) > 0 {
		t.Errorf("%d that are over", len(ids))
	}
	for i, want := range []int{expireBatch + 1, 2, 3} {
		s.put(t, revocation("new "+strconv.Itoa(i)))
		for _, count := range []string{server.Do("HLEN", s.keys.revocations.all), server.Do("ZCARD", s.keys.revocations.until)} {
			if count != strconv.Itoa(want) {
				t.Errorf("after %d more: %s are left, want %d", i+1, count, want)
			}
		}
	}
}

func TestManyRevocationsHoldNobodyUp(t *testing.T) {
	server, s := startStore(t)
	all := make([]store.Revocation, store.MaxRevocations)
	for i := range all {
		all[i] = revocation(fmt.Sprintf("R%06d", i))
		all[i].User = strconv.Itoa(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, s.PutRevocations(ctx, all...))
	if got, _, _, err := s.Revocations(ctx, store.RevocationsVersion{}); err != nil || len(got) < len(all) {
		t.Fatalf("%d read, %v", len(got), err)
	}
	stats := server.Do("INFO", "commandstats")
	for _, command := range []string{"hscan", "evalsha"} {
		took := regexp.MustCompile(`cmdstat_` + command + `:calls=\d+,usec=\d+,usec_per_call=([\d.]+)`).FindStringSubmatch(stats)
		if micros, err := strconv.ParseFloat(took[1], 64); err != nil || micros > 3000 {
			t.Errorf("%s takes %s µs a call", command, took[1])
		}
	}
}
