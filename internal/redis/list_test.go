package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// listAll returns the ids of all listed sessions, read in pages of limit.
func (s *harness) listAll(t *testing.T, limit int) (ids []string) {
	t.Helper()
	for q := (store.ListQuery{Limit: limit}); ; {
		records, next, err := store.List(within(t), s, q)
		must(t, err)
		for _, r := range records {
			ids = append(ids, r.Session)
		}
		if q.After = next; next == "" {
			return ids
		}
	}
}

// TestSchedule checks that a session is in the schedule, from which lists are made, while
// the session is open or its end is not delivered.
func TestSchedule(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	r := overdue("S")
	there := func(what string, want bool) {
		t.Helper()
		if score := server.Do("ZSCORE", s.due("S"), "S"); (score != "(nil)") != want {
			t.Errorf("%s: score %s", what, score)
		}
	}
	s.saved(t, store.Done, r)
	there("saved", true)
	r.Version++
	s.saved(t, store.Done, r)
	s.swept(t, "b")
	s.acquired(t, "S", 1, "a")
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
	if keys := server.Do("KEYS", "*:due"); keys != "" {
		t.Errorf("left: %s", keys)
	}
}

// TestListHold checks that no command of a listing holds Redis for a millisecond, with as
// many sessions in a shard as a service with a million has.
func TestListHold(t *testing.T) {
	t.Parallel()
	const sessions, hold = 1_000_000 / store.Shards, time.Millisecond
	server, s := startAt(t)
	ids := make([]string, sessions)
	_, err := s.client.Pipelined(within(t), func(p goredis.Pipeliner) error {
		for i := range ids {
			ids[i] = fmt.Sprintf("%026d", i)
			p.ZAdd(t.Context(), s.keys.due[0], goredis.Z{Score: float64(begin.UnixMilli() + int64(i)*7), Member: ids[i]})
		}
		return nil
	})
	must(t, err)
	// The test measures processor time, since Redis itself may have to wait on a busy
	// machine.
	commands, cpu := server.Commands(), server.CPU()
	found, err := s.IDs(within(t), 0)
	commands, cpu = server.Commands()-commands, server.CPU()-cpu
	if err != nil || !slices.Equal(found, ids) {
		t.Errorf("%d ids, %v", len(found), err)
	}
	if n := int64(sessions/scanCount) + 4; commands > n { // 4: a connection and the processor time
		t.Errorf("%d commands, want at most %d", commands, n)
	}
	if each := cpu / time.Duration(commands); each > hold {
		t.Errorf("each command takes Redis %s", each)
	}

	var records []store.Record
	next := idsIn(1)
	for range store.ListLimit {
		records = append(records, record(next()))
	}
	s.saved(t, store.Done, records...)
	ids = ids[:0]
	for _, r := range records {
		ids = append(ids, r.Session)
	}
	cpu = server.CPU()
	read, err := s.Read(within(t), ids)
	cpu = server.CPU() - cpu
	if err != nil || len(read) != len(ids) {
		t.Errorf("%d records, %v", len(read), err)
	}
	if each := cpu / (store.ListLimit / readCount); each > hold {
		t.Errorf("each pipeline takes Redis %s", each)
	}
}

// TestListWhileOthersWrite adds and removes sessions during a listing.
func TestListWhileOthersWrite(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, other := openAt(t, server.UnixURL()), openAt(t, server.UnixURL())
	var stay []string
	var records []store.Record
	// One shard is too large to be scanned in one call.
	for i := range 200 {
		stay = append(stay, "S"+strconv.Itoa(i))
	}
	many := 2 * scanCount
	next := idsIn(5)
	for range many {
		stay = append(stay, next())
	}
	slices.Sort(stay)
	stay = slices.Compact(stay)
	for _, id := range stay {
		records = append(records, record(id))
	}
	s.saved(t, store.Done, records...)
	passing := make([]string, 300)
	for i := range passing {
		passing[i] = next()
	}
	ctx, stop := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			var come, leave []store.Record
			for n := range 40 {
				r := record(passing[(i*7+n)%len(passing)])
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
	for range 5 {
		for _, limit := range []int{30, 170, 900} {
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
