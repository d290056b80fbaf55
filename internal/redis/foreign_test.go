package redis

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// newer puts overdue sessions of a later release into the first shard, before
// all others that are due, and returns their ids. This release knows of their
// records that they begin with a higher format, and that they are in hashes.
func (s *stage) newer(t *testing.T, first, many int) (ids []string) {
	t.Helper()
	next := idsIn(0)
	for range first {
		next()
	}
	_, err := s.client.Pipelined(within(t), func(p goredis.Pipeliner) error {
		for n := range many {
			id := next()
			ids = append(ids, id)
			fence := "2 1 1 a node-of-tomorrow 1"
			if n%2 == 1 {
				fence = "10 in another form"
			}
			p.HSet(t.Context(), s.hash(id), "fence", fence, "state", "{}", "forget", "never", "mood", "good")
			p.ZAdd(t.Context(), s.due(id), goredis.Z{Score: float64(n + 1), Member: id})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestNewerRecords has all operations leave records of a later release alone,
// and see to those beside them.
func TestNewerRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	theirs := s.newer(t, 0, 2)
	before := make(map[string]string)
	for _, id := range theirs {
		before[id] = server.Do("DUMP", s.hash(id))
	}
	for round, version := range []uint64{1, 2} { // all of a record, and what changes
		mine := overdue(idIn(0, 2))
		mine.Version = version
		batch := []store.Record{overdue(theirs[0]), mine, overdue(theirs[1])}
		for i := range batch {
			batch[i].Epoch, batch[i].Version = 7, version
		}
		outcomes, err := s.Save(within(t), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []store.Action{store.LeaveAlone, store.Done, store.LeaveAlone} {
			if outcomes[i].Action != want {
				t.Errorf("round %d: save %s: action %d, want %d", round, batch[i].Session, outcomes[i].Action, want)
			}
		}
	}
	for _, id := range theirs {
		held, err := s.Acquire(within(t), store.AcquireRequest{Session: id, Epoch: 9, Node: "b", Attach: true})
		if !errors.Is(err, store.ErrUnreadable) || held != (store.Acquired{}) {
			t.Errorf("acquire: %+v, %v", held, err)
		}
	}
	for range 2 {
		claimed := s.swept(t, "b")
		if _, ok := claimed[idIn(0, 2)]; len(claimed) != 1 || !ok {
			t.Errorf("claimed %v", claimed)
		}
		s.pass(store.Lease + store.Slack)
	}
	for n, id := range theirs {
		if after := server.Do("DUMP", s.hash(id)); after != before[id] {
			t.Errorf("%s was %q and is %q", id, before[id], after)
		}
		if score := server.Do("ZSCORE", s.due(id), id); score != fmt.Sprint(n+1) {
			t.Errorf("%s is due at %s", id, score)
		}
	}
	// It is an answer like any other, and no fault of the store's.
	for _, operation := range []string{"acquire", "save", "sweep", "claim"} {
		if n := testutil.ToFloat64(s.metrics.failed.WithLabelValues(operation)); n != 0 {
			t.Errorf("%s: %v errors are counted", operation, n)
		}
	}
}

// TestBehindNewerRecords has a sweep hand over what comes behind many that it
// cannot read, and no more than its share.
func TestBehindNewerRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, count := range []struct{ newer, mine, want int }{
		{store.SweepLimit, 1, 1},
		{store.SweepLimit - 1, 300, store.SweepLimit},
		{store.SweepLimit / 2, 300, store.SweepLimit},
		{sweepPages * store.SweepLimit, 10, 10},
	} {
		server.Do("FLUSHALL")
		s := openAt(t, server.UnixURL())
		s.newer(t, 0, count.newer)
		var mine []store.Record
		next := idsIn(0)
		for range count.newer {
			next()
		}
		for range count.mine {
			mine = append(mine, overdue(next()))
		}
		s.saved(t, store.Done, mine...)
		claimed := s.swept(t, "b")
		if len(claimed) != count.want {
			t.Errorf("behind %d: claimed %d of %d, want %d", count.newer, len(claimed), count.mine, count.want)
		}
		for _, r := range mine {
			delete(claimed, r.Session)
		}
		if len(claimed) > 0 {
			t.Errorf("claimed %v", claimed)
		}
	}
}

// TestBehindManyNewerRecords has what comes behind more of them than one sweep
// looks past get its turn, and what comes before them, too.
func TestBehindManyNewerRecords(t *testing.T) {
	t.Parallel()
	s := openAt(t, redistest.Start(t).UnixURL())
	const sweeps = 3
	const many = sweeps * (sweepPages + 1) * store.SweepLimit
	s.newer(t, 0, many)
	behind := overdue(idIn(0, many))
	s.saved(t, store.Done, behind)
	claimedWithin := func(id string, sweeps int) {
		t.Helper()
		for range sweeps {
			if _, ok := s.swept(t, "b")[id]; ok {
				return
			}
			s.pass(store.SweepEvery)
		}
		t.Errorf("%s is not claimed in %d sweeps", id, sweeps)
	}
	claimedWithin(behind.Session, sweeps+1)
	// Those that only renew their lease have no part in it.
	s.swept(t, "b")
	s.Sweep(within(t), "c", store.Renew)
	before := overdue(idIn(0, many+1))
	before.Due = 0
	s.saved(t, store.Done, before)
	claimedWithin(before.Session, sweeps+1)
	for range sweeps {
		s.swept(t, "b")
	}
	last := overdue(idIn(0, many+2))
	s.saved(t, store.Done, last)
	claimedWithin(last.Session, sweeps+1)
}

// TestAddedFields has what a later release may add to a record of this format
// outlive all operations, and read by none.
func TestAddedFields(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	r := overdue("S")
	s.saved(t, store.Done, r)
	server.Do("HSET", s.hash("S"), "mood", "good")
	r.Version = 2
	s.saved(t, store.Done, r)
	if got := s.swept(t, "b")["S"]; got.Node != "b" || got.Version != 2 || got.App != r.App {
		t.Errorf("claimed %+v", got)
	}
	if held, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 1, Node: "c"}); err != nil || !held.Known {
		t.Errorf("acquire: %+v, %v", held, err)
	}
	r.Epoch, r.Version, r.Node = 2, 1, "c" // the grant too
	s.saved(t, store.Done, r)
	if got := server.Do("HGET", s.hash("S"), "mood"); got != "good" {
		t.Errorf("it is %q now", got)
	}
}

// A node claims the sessions of all projects that it serves, and of no other: those
// stay as they are until a node comes that does.
func TestOnlyServedAppsAreClaimed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), nil)
	var all []store.Record
	for n, app := range []string{"first", "second", "third", "rst sec", "", "second"} {
		r := overdue(idIn(0, n))
		r.App, r.Due = app, r.Due+session.UnixMilli(n)
		all = append(all, r)
	}
	s.saved(t, store.Done, all...)
	claims := func(node string, apps []string, want ...int) {
		t.Helper()
		claimed := open(t, server.URL(), func(c *Config) { c.Apps = apps }).swept(t, node)
		for _, n := range want {
			if r := claimed[all[n].Session]; r.App != all[n].App || r.Node != node || r.Due != all[n].Due {
				t.Errorf("a node of %q claimed %+v, want that of %q", apps, r, all[n].App)
			}
		}
		if len(claimed) != len(want) {
			t.Errorf("a node of %q claimed %d sessions, want %d", apps, len(claimed), len(want))
		}
	}
	claims("x", []string{"fourth", "thi"})
	claims("b", []string{"first", "second"}, 0, 1, 5)
	claims("b", []string{"first", "second"}) // they have its attention
	claims("c", []string{"third"}, 2)
	claims("d", nil, 3) // one without an app is nobody's
}

// However many sessions of other nodes' projects are overdue, those behind them get
// their turn.
func TestBehindOthersApps(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Start(t).UnixURL(), func(c *Config) { c.Apps = []string{"first", "second"} })
	var others []store.Record
	next := idsIn(0)
	for range 2*store.SweepLimit + 1 {
		r := overdue(next())
		r.App, r.Due = "third", r.Due-1
		others = append(others, r)
	}
	own := overdue(next())
	own.App = "second"
	s.saved(t, store.Done, append(others, own)...)
	claimed := s.swept(t, "b")
	if _, ok := claimed[own.Session]; !ok || len(claimed) != 1 {
		t.Errorf("claimed %d sessions, its own: %t", len(claimed), ok)
	}
}
