package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// spoiling is a way to make a session's hash unreadable: by hand, by a fault, or by a later
// release.
type spoiling struct {
	name   string
	spoil  func(server *redistest.Server, key string)
	hidden bool // hidden means that the scripts do not notice, since they read only the fence
}

func set(field, value string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HSET", key, field, value) }
}

func unset(field string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HDEL", key, field) }
}

var spoilings = []spoiling{
	{"a later format", set("f", "2 1 1 a a p 0 1"), false},
	{"a later format of another form", set("f", "10 something else"), false},
	{"empty fence", set("f", ""), false},
	{"fence of words", set("f", "one two three four five six seven eight"), false},
	{"fence without version", set("f", "1 1 1 a a p 0"), false},
	{"fence with half a number", set("f", "1 1 1 a a p 0 1.5"), false},
	{"fence with a long letter", set("f", "1 1 1 aa a p 0 1"), false},
	{"fence with another role", set("f", "1 1 1 a a q 0 1"), false},
	{"fence of bytes", set("f", "\x00\xff 1"), false},
	{"high epoch", set("f", "1 18446744073709551615 1 a a p 0 1"), false},
	{"epoch beyond all numbers", set("f", "1 "+strings.Repeat("9", 400)+" 1 a a p 0 1"), false},
	{"high proven", set("f", "1 1 9999999999999999 a a p 0 1"), false},
	{"high version of a wish", set("f", "1 1 1 a a p 9999999999999999 1"), false},
	{"high version", set("f", "1 1 1 a a p 0 9999999999999999"), false},
	{"a string", func(server *redistest.Server, key string) { server.Do("SET", key, "1 1 1 a a p 0 1") }, false},
	{"a list", func(server *redistest.Server, key string) {
		server.Do("DEL", key)
		server.Do("RPUSH", key, "f", "1 1 1 a a p 0 1")
	}, false},
	{"no state", unset("s"), true},
	{"bad state", set("s", "1 2 3"), true},
	{"state with an expiry in milliseconds", set("s", "1 4102444800000000"), true},
	{"bad ttl", set("g", "01234567 long 4102444800"), true},
	{"long ttl", set("g", "01234567 2000000000 4102444800"), true},
	{"no grant", unset("g"), true},
	{"bad uid", set("u", "-7"), true},
	{"nobody's", func(server *redistest.Server, key string) { server.Do("HDEL", key, "c", "m") }, true},
}

// spoilt fills a shard with unreadable records, each between two readable ones.
func spoilt(t *testing.T, server *redistest.Server) (s *harness, bad, good []store.Record) {
	t.Helper()
	server.Do("FLUSHALL")
	s = openAt(t, server.UnixURL())
	next := idsIn(0)
	var all []store.Record
	for i := range 2*len(spoilings) + 1 {
		r := overdue(next())
		r.Due += session.UnixMilli(i)
		all = append(all, r)
		if i%2 == 0 {
			good = append(good, r)
		} else {
			bad = append(bad, r)
		}
	}
	s.saved(t, store.Done, all...)
	for i, b := range spoilings {
		b.spoil(server, s.hash(bad[i].Session))
	}
	return s, bad, good
}

// dumps returns the values of the records' keys.
func (s *harness) dumps(server *redistest.Server, records []store.Record) map[string]string {
	values := make(map[string]string)
	for _, r := range records {
		values[r.Session] = server.Do("DUMP", s.hash(r.Session))
	}
	return values
}

// leftAlone checks that the records that the scripts cannot read are unchanged, and that each
// unreadable record is logged once.
func (s *harness) leftAlone(t *testing.T, server *redistest.Server, bad []store.Record, before map[string]string) {
	t.Helper()
	after := s.dumps(server, bad)
	for i, b := range spoilings {
		id := bad[i].Session
		if !b.hidden && after[id] != before[id] {
			t.Errorf("%s: it was %q and is %q", b.name, before[id], after[id])
		}
		if lines := s.log.lines("session=" + id + " "); len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") {
			t.Errorf("%s: logged %q", b.name, lines)
		}
	}
	// An unreadable record does not count as a failure of the store.
	for _, operation := range []string{"acquire", "save", "wish", "sweep", "claim", "list"} {
		if n := testutil.ToFloat64(s.metrics.failed.WithLabelValues(operation)); n != 0 {
			t.Errorf("%s: %v errors are counted", operation, n)
		}
	}
}

// TestSaveOverUnreadable checks that a save writes the readable records beside unreadable
// ones, and that an owner overwrites a record that the scripts can read but Go cannot.
func TestSaveOverUnreadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, version := range []uint64{1, 2} { // version 1 saves the whole record, version 2 only the changed values
		s, bad, good := spoilt(t, server)
		before := s.dumps(server, bad)
		all := append(good, bad...)
		for i := range all {
			all[i].Version = version
		}
		outcomes, err := s.Save(within(t), all)
		must(t, err)
		for i, o := range outcomes {
			if i < len(good) && o.Action != store.Done {
				t.Errorf("version %d: beside an unreadable one: action %d", version, o.Action)
			}
			if i < len(good) {
				continue
			}
			want := store.LeaveAlone
			b := spoilings[i-len(good)]
			if b.hidden {
				want = store.Done
				_ = s.unreadable(bad[i-len(good)].Session, errNoRecord) // for leftAlone
			}
			if o.Action != want {
				t.Errorf("version %d: %s: action %d, want %d", version, b.name, o.Action, want)
			}
		}
		s.leftAlone(t, server, bad, before)
	}
}

// TestAcquireAndWishOfUnreadable: if the stored record is unreadable, the session continues
// from the client's resume key. The node's next save then replaces the state, and nothing
// else.
func TestAcquireAndWishOfUnreadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, bad, _ := spoilt(t, server)
	before := s.dumps(server, bad)
	for i, b := range spoilings {
		id := bad[i].Session
		if r, err := s.Wish(within(t), store.Wish{Session: id, Kind: store.WishEnd}); !errors.Is(err, store.ErrUnreadable) {
			t.Errorf("%s: wish: %+v, %v", b.name, r, err)
		}
		if !b.hidden {
			s.wantUnreadable(t, b.name, id, 9)
		}
	}
	s.leftAlone(t, server, bad, before)
	s, bad, _ = spoilt(t, server)
	for i, b := range spoilings {
		if !b.hidden {
			continue
		}
		r := bad[i]
		s.wantUnreadable(t, b.name, r.Session, 1)
		r.Epoch, r.Node = 2, "b"
		s.saved(t, store.Done, r)
		if r, ok, err := s.Get(within(t), r.Session); err != nil || ok != strings.Contains(b.name, "state") {
			t.Errorf("%s, after the next write: %+v, %v, %v", b.name, r, ok, err)
		}
	}
}

// TestAcquireOfUnreadableEnd acquires an ended session whose state cannot be read.
func TestAcquireOfUnreadableEnd(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	for _, spoil := range []func(*redistest.Server, string){set("s", "gone"), unset("s")} {
		server.Do("FLUSHALL")
		server.Do("HSET", s.hash("S"), "f", "1 5 5 e b - 0 1", "s", "1 1 =left")
		spoil(server, s.hash("S"))
		s.saved(t, store.LeaveAlone, record("S"))
		s.wantUnreadable(t, "an end", "S", 9)
	}
}

// TestUnreadableTombstone: a tombstone without an expiry time is in effect until Redis
// removes it.
func TestUnreadableTombstone(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	next := idsIn(0)
	for _, spoil := range []func(*redistest.Server, string){set("e", "soon"), set("e", "9 9"), unset("e")} {
		gone, other := record(next()), record(next())
		gone.State, gone.Reason, gone.Delivered = session.Ended, session.EndRevoked, store.DeliveredEnd
		s.saved(t, store.Done, gone, other)
		spoil(server, s.hash(gone.Session))
		open := record(gone.Session)
		open.Epoch, open.Node, other.Version = 2, "b", other.Version+1
		outcomes, err := s.Save(within(t), []store.Record{open, other})
		if err != nil || outcomes[0].Action != store.EndSession || outcomes[1].Action != store.Done {
			t.Errorf("save: %+v, %v", outcomes, err)
		}
		_, err = s.Acquire(within(t), store.AcquireRequest{Session: gone.Session, Epoch: 9, Node: "a"})
		if ended, ok := errors.AsType[*session.EndedError](err); !ok || ended.Reason != session.EndRevoked {
			t.Errorf("acquire: %v", err)
		}
	}
}

func TestSweepOverUnreadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, bad, good := spoilt(t, server)
	before := s.dumps(server, bad)
	for round := 1; round <= 2; round++ {
		claimed := s.swept(t, "b")
		for _, r := range good {
			if claimed[r.Session].Node != "b" {
				t.Errorf("round %d: %s was not claimed", round, r.Session)
			}
		}
		if len(claimed) != len(good) {
			t.Errorf("round %d: claimed %d, want %d", round, len(claimed), len(good))
		}
		// No sweep claims the readable sessions again before their new due time.
		if claimed := s.swept(t, "c"); len(claimed) != 0 {
			t.Errorf("round %d: claimed %v at once", round, claimed)
		}
		s.pass(store.Lease + store.Slack)
	}
	s.leftAlone(t, server, bad, before)
}

// TestManyUnreadable checks that at most maxNamed unreadable records are logged, however
// often each is read.
func TestManyUnreadable(t *testing.T) {
	t.Parallel()
	s := open(t, "redis://127.0.0.1:1", nil)
	for range 2 {
		for i := range maxNamed + 1000 {
			_ = s.unreadable(fmt.Sprint(i), errNoRecord)
		}
	}
	if n := len(s.log.lines("cannot be read")); n != maxNamed {
		t.Errorf("%d lines", n)
	}
}

// TestBehindUnreadable checks that sessions behind many unreadable records in the schedule
// are claimed, too.
func TestBehindUnreadable(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	next := idsIn(0)
	var bad []store.Record
	for range 2 * store.SweepLimit {
		r := overdue(next())
		r.Due--
		bad = append(bad, r)
	}
	own := overdue(next())
	s.saved(t, store.Done, append(bad, own)...)
	for _, r := range bad {
		set("f", "2 of tomorrow")(server, s.hash(r.Session))
	}
	for sweeps := 0; ; sweeps++ {
		if _, ok := s.swept(t, "b")[own.Session]; ok {
			break
		}
		if sweeps == 2 {
			t.Fatal("not claimed in three sweeps")
		}
	}
}

// TestListsBesideUnreadable checks that lists leave unreadable records out.
func TestListsBesideUnreadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, bad, good := spoilt(t, server)
	before := s.dumps(server, bad)
	for i, b := range spoilings {
		if _, ok, err := s.Get(within(t), bad[i].Session); ok || err != nil {
			t.Errorf("%s: got %v, %v", b.name, ok, err)
		}
	}
	var want []string
	for _, r := range good {
		want = append(want, r.Session)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 10, 1000} {
		if got := s.listAll(t, limit); !slices.Equal(got, want) {
			t.Errorf("in parts of %d: listed %q, want %q", limit, got, want)
		}
	}
	s.leftAlone(t, server, bad, before)
}

// TestNoFence: a hash without a fence counts as no session, and a save replaces the hash.
func TestNoFence(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	r := overdue("S")
	s.saved(t, store.Done, r)
	unset("f")(server, s.hash("S"))
	set("h", "somebody")(server, s.hash("S"))
	if _, err := s.Wish(within(t), store.Wish{Session: "S"}); !errors.Is(err, store.ErrNoSession) {
		t.Errorf("wish: %v", err)
	}
	if held := s.acquired(t, "S", 4, "b"); held != (store.Acquired{Epoch: 5}) {
		t.Errorf("acquire: %+v", held)
	}
	if claimed := s.swept(t, "b"); len(claimed) != 0 || len(s.listAll(t, 10)) != 0 {
		t.Errorf("claimed %v", claimed)
	}
	r.Version = 5
	s.saved(t, store.Done, r)
	if got, ok, err := s.Get(within(t), "S"); err != nil || !ok || got.Identity != r.Identity && got.Identity.Chat != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestAddedFields checks that fields that a later release may add to this format survive all
// operations and change none of them.
func TestAddedFields(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	r := overdue("S")
	s.saved(t, store.Done, r)
	server.Do("HSET", s.hash("S"), "mood", "good")
	r.Version = 2
	s.saved(t, store.Done, r)
	if got := s.swept(t, "b")["S"]; got.Node != "b" || got.Version != 2 || got.App != r.App {
		t.Errorf("claimed %+v", got)
	}
	if held := s.acquired(t, "S", 1, "c"); !held.Known {
		t.Errorf("acquire: %+v", held)
	}
	r.Epoch, r.Version, r.Node = 2, 1, "c" // the new owner writes the grant too
	s.saved(t, store.Done, r)
	if got := server.Do("HGET", s.hash("S"), "mood"); got != "good" {
		t.Errorf("it is %q now", got)
	}
}

// TestLostHashes checks that sessions whose hash was removed by hand do not stop a listing,
// and are removed from the schedule.
func TestLostHashes(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	lost, kept := overdue(idIn(4, 0)), overdue(idIn(4, 1))
	s.saved(t, store.Done, lost, kept)
	server.Do("DEL", s.hash(lost.Session))
	for _, limit := range []int{1, 10} {
		if got := s.listAll(t, limit); !slices.Equal(got, []string{kept.Session}) {
			t.Errorf("in pages of %d: listed %q", limit, got)
		}
	}
	if claimed := s.swept(t, "b"); len(claimed) != 1 || claimed[kept.Session].Node != "b" {
		t.Errorf("claimed %v", claimed)
	}
	if left := server.Do("ZRANGE", s.due(kept.Session), "0", "-1"); left != kept.Session {
		t.Errorf("still due: %s", left)
	}
	if lines := s.log.lines("level=ERROR"); len(lines) != 0 {
		t.Error(lines)
	}
	// When the owner saves a renewal, it writes the whole record again.
	lost.Version = 5
	s.saved(t, store.Done, lost)
	if held := s.acquired(t, lost.Session, 1, "b"); !held.Known || held.Record.App != lost.App || held.Record.Version != 5 {
		t.Errorf("acquire: %+v", held)
	}
}
