package redis

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// listAll are the ids of all sessions that are listed, in parts of limit.
func (s *stage) listAll(t *testing.T, limit int) (ids []string) {
	t.Helper()
	for q := (store.ListQuery{Limit: limit}); ; {
		records, next, err := s.List(within(t), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			ids = append(ids, r.Session)
		}
		if q.After = next; next == "" {
			return ids
		}
	}
}

// TestIDs has a session stand among the ids for as long as it is in the schedule.
func TestIDs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	r := overdue("S")
	there := func(what string, want bool) {
		t.Helper()
		if score := server.Do("ZSCORE", s.keys.ids[store.ShardOf("S")], "S"); (score == "0") != want || !want && score != "(nil)" {
			t.Errorf("%s: score %s", what, score)
		}
	}
	s.saved(t, store.Done, r)
	there("saved", true)
	r.Version++
	s.saved(t, store.Done, r)
	s.swept(t, "b")
	if _, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 1, Node: "a"}); err != nil {
		t.Fatal(err)
	}
	there("renewed, claimed and acquired", true)
	end := func(reason session.EndReason, told store.Delivered) {
		r.Epoch, r.State, r.Reason, r.Due, r.Delivered = 2, session.Ended, reason, session.MilliOf(begin), told
		r.Version++
		s.saved(t, store.Done, r)
	}
	end(session.EndExpired, 0)
	there("expired, and not told", true)
	end(session.EndExpired, store.DeliveredEnd)
	there("gone", false)
	r.Version = 0
	end(session.EndRevoked, 0)
	there("ended, and not told", true)
	end(session.EndRevoked, store.DeliveredEnd)
	there("a tombstone", false)
	if keys := server.Do("KEYS", "*:ids"); keys != "" {
		t.Errorf("left: %s", keys)
	}
}

// TestIDsByHand has ids that were removed come back when a session is written
// whole, which a renewal is not; and those that are left of a session that was
// removed stop nothing, until a sweep tidies them.
func TestIDsByHand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	a, b, c := overdue(idIn(3, 0)), overdue(idIn(3, 1)), overdue(idIn(3, 2))
	want := []string{a.Session, b.Session, c.Session}
	slices.Sort(want)
	s.saved(t, store.Done, a, b, c)
	server.Do("DEL", s.keys.ids[3])
	if got := s.listAll(t, 1); len(got) != 0 {
		t.Errorf("listed %q", got)
	}
	a.Version, b.Version, c.Version = 2, 2, 2
	s.saved(t, store.Done, a, b, c)
	if got := s.listAll(t, 1); len(got) != 0 {
		t.Errorf("after a renewal, listed %q", got)
	}
	for _, r := range []store.Record{a, b, c} {
		r.Epoch, r.Version = 2, 1
		s.saved(t, store.Done, r)
	}
	if got := s.listAll(t, 1); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	server.Do("DEL", s.hash(want[0]), s.hash(want[1]))
	for _, limit := range []int{1, 2, 10} {
		if got := s.listAll(t, limit); !slices.Equal(got, want[2:]) {
			t.Errorf("in parts of %d: listed %q, want %q", limit, got, want[2:])
		}
	}
	s.swept(t, "b")
	if left := server.Do("ZRANGE", s.keys.ids[3], "0", "-1"); left != want[2] {
		t.Errorf("left: %q", left)
	}
}

// TestListIsBounded: what a part costs depends on its limit, not on what there is.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	var all []store.Record
	for i := range 3000 {
		all = append(all, record("S"+strconv.Itoa(i)))
	}
	s.saved(t, store.Done, all...)
	for _, limit := range []int{1, 40, 300} {
		before := server.Commands()
		records, next, err := s.List(within(t), store.ListQuery{Limit: limit})
		if err != nil || len(records) != limit || next == "" {
			t.Fatalf("%d records, next %q, %v", len(records), next, err)
		}
		// The shards are counted, some are read, and then the sessions.
		if n, most := server.Commands()-before, int64(2*store.Shards+2*limit); n > most {
			t.Errorf("a part of %d: %d commands, want at most %d", limit, n, most)
		}
	}
}

// TestListWhileOthersWrite has sessions come and go at any moment of a listing.
func TestListWhileOthersWrite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, other := openAt(t, server.UnixURL()), openAt(t, server.UnixURL())
	var stay []string
	var records []store.Record
	for i := range 200 {
		r := record("S" + strconv.Itoa(i))
		records, stay = append(records, r), append(stay, r.Session)
	}
	s.saved(t, store.Done, records...)
	slices.Sort(stay)
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			var come, leave []store.Record
			for n := range 40 {
				r := record("S" + strconv.Itoa(1000+i%7+n*7))
				come = append(come, r)
				r.Version, r.State, r.Reason, r.Delivered = 2, session.Ended, session.EndExpired, store.DeliveredEnd
				leave = append(leave, r)
			}
			_, _ = other.Save(ctx, come)
			_, _ = other.Save(ctx, leave)
		}
	})
	defer writer.Wait()
	defer stop()
	for range 40 {
		for _, limit := range []int{3, 17, 90} {
			shown := s.listAll(t, limit)
			kept := slices.DeleteFunc(slices.Sorted(slices.Values(shown)), func(id string) bool {
				_, found := slices.BinarySearch(stay, id)
				return !found
			})
			if !slices.Equal(kept, stay) {
				t.Fatalf("in parts of %d: %d that were there all along, want each of %d once", limit, len(kept), len(stay))
			}
		}
	}
}
