package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
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
	{"fence without version", set("f", "1 1 1 a a p 0"), false},
	{"fence with half a number", set("f", "1 1 1 a a p 0 1.5"), false},
	{"fence with another role", set("f", "1 1 1 a a q 0 1"), false},
	{"fence of bytes", set("f", "\x00\xff 1"), false},
	{"high epoch", set("f", "1 18446744073709551615 1 a a p 0 1"), false},
	{"high proven", set("f", "1 1 9999999999999999 a a p 0 1"), false},
	{"high version of a wish", set("f", "1 1 1 a a p 9999999999999999 1"), false},
	{"high version", set("f", "1 1 1 a a p 0 9999999999999999"), false},
	{"a string", func(server *redistest.Server, key string) { server.Do("SET", key, "1 1 1 a a p 0 1") }, false},
	{"no state", unset("s"), true},
	{"bad state", set("s", "1 2 3"), true},
	{"long ttl", set("g", "01234567 2000000000 4102444800"), true},
	{"no grant", unset("g"), true},
	{"bad uid", set("u", "-7"), true},
	{"nobody's", func(server *redistest.Server, key string) { server.Do("HDEL", key, "c", "m") }, true},
}

// TestUnreadableRecords does all operations on unreadable records, each between two readable
// ones. Records that the scripts cannot read stay unchanged, and each is logged once. A session
// whose record only Go cannot read continues from the client's resume key: the node's next save
// replaces the state, and nothing else.
func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	ids := storetest.InShard(0, 2*len(spoilings))
	var good, bad []store.Record
	for i, b := range spoilings {
		readable, r := overdue(ids[2*i]), overdue(ids[2*i+1])
		readable.Due += session.UnixMilli(2 * i)
		r.Due = readable.Due + 1
		good, bad = append(good, readable), append(bad, r)
		s.saved(t, store.Done, readable, r)
		b.spoil(server, s.hash(r.Session))
	}
	before := make([]string, len(bad))
	for i, b := range spoilings {
		r := &bad[i]
		before[i] = server.Do("DUMP", s.hash(r.Session))
		if _, ok, err := s.Get(within(t), r.Session); ok || err != nil {
			t.Errorf("%s: got %v, %v", b.name, ok, err)
		}
		if _, err := s.Wish(within(t), store.Wish{Session: r.Session, Kind: store.WishRenew}); !errors.Is(err, store.ErrUnreadable) {
			t.Errorf("%s: wish: %v", b.name, err)
		}
		s.wantUnreadable(t, b.name, r.Session, 1)
		if b.hidden {
			r.Epoch, r.Node = 2, "b"
		}
	}
	var want []string
	for _, r := range good {
		want = append(want, r.Session)
	}
	slices.Sort(want)
	if got := s.listAll(t, 10); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for version := range uint64(2) { // version 1 saves the whole record, version 2 only the changed values
		for i, b := range spoilings {
			good[i].Version, bad[i].Version = version+1, version+1
			outcomes, err := s.Save(within(t), []store.Record{good[i], bad[i]})
			must(t, err)
			want := map[bool]store.Action{true: store.Done, false: store.LeaveAlone}[b.hidden]
			if outcomes[0].Action != store.Done || outcomes[1].Action != want {
				t.Errorf("%s: save of version %d: %+v", b.name, version+1, outcomes)
			}
		}
	}
	claimed := s.swept(t, "c")
	for i, b := range spoilings {
		id := bad[i].Session
		_, ok := claimed[id]
		if repaired := strings.Contains(b.name, "state"); ok != repaired || claimed[good[i].Session].Node != "c" {
			t.Errorf("%s: claimed %v, and its neighbour by %q", b.name, ok, claimed[good[i].Session].Node)
		}
		if after := server.Do("DUMP", s.hash(id)); !b.hidden && after != before[i] {
			t.Errorf("%s: it was %q and is %q", b.name, before[i], after)
		}
		if lines := s.log.lines("session=" + id + " "); len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") {
			t.Errorf("%s: logged %q", b.name, lines)
		}
	}
	for name, n := range s.operations(t) {
		if n[1] != 0 {
			t.Errorf("%s: %d unreadable records count as errors of the store", name, n[1])
		}
	}
}

func TestUnreadableEnds(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	for _, spoil := range []func(*redistest.Server, string){set("s", "gone"), unset("s"), set("e", "soon"), set("e", "9 9"), unset("e")} {
		server.Do("FLUSHALL")
		server.Do("HSET", s.hash("S"), "f", "1 1 1 b a p 0 1", "s", "1 1 =left", "e", "9999999999")
		spoil(server, s.hash("S"))
		if server.Do("HGET", s.hash("S"), "s") != "1 1 =left" {
			s.saved(t, store.LeaveAlone, record("S"))
			s.wantUnreadable(t, "an end", "S", 9)
			continue
		}
		s.saved(t, store.EndSession, record("S"))
		_, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 9, Node: "a"})
		if ended, ok := errors.AsType[*session.EndedError](err); !ok || ended.Reason != session.EndLeft {
			t.Errorf("acquire: %v", err)
		}
	}
}

func TestLoggedUnreadableRecordsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, "redis://127.0.0.1:1", nil)
	for i := range maxNamed + 1000 {
		_ = s.unreadable(fmt.Sprint(i), errNoRecord)
	}
	if n := len(s.log.lines("cannot be read")); n != maxNamed {
		t.Errorf("%d lines", n)
	}
}

func TestClaimedBehindUnreadableRecords(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	for i, id := range storetest.InShard(0, store.SweepLimit+1) {
		r := overdue(id)
		r.Due += session.UnixMilli(i)
		s.saved(t, store.Done, r)
		if i < store.SweepLimit {
			set("f", "2 of tomorrow")(server, s.hash(id))
		}
	}
	if claimed := len(s.swept(t, "b")) + len(s.swept(t, "b")); claimed != 1 {
		t.Errorf("claimed %d in two sweeps", claimed)
	}
}

func TestHashWithoutFenceIsNoSession(t *testing.T) {
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

func TestFieldsOfLaterReleasesSurvive(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	r := overdue("S")
	s.saved(t, store.Done, r)
	server.Do("HSET", s.hash("S"), "mood", "good")
	r.Version = 2
	s.saved(t, store.Done, r)
	s.swept(t, "b")
	s.acquired(t, "S", 1, "c")
	r.Epoch, r.Version, r.Node, r.TermsChanged = 2, 1, "c", true
	s.saved(t, store.Done, r)
	if got := server.Do("HGET", s.hash("S"), "mood"); got != "good" {
		t.Errorf("it is %q now", got)
	}
}

func TestSessionWithoutHashLeavesTheSchedule(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	lost, kept := overdue(idIn(4, 0)), overdue(idIn(4, 1))
	s.saved(t, store.Done, lost, kept)
	server.Do("DEL", s.hash(lost.Session))
	if got := s.listAll(t, 1); !slices.Equal(got, []string{kept.Session}) {
		t.Errorf("listed %q", got)
	}
	if claimed := s.swept(t, "b"); len(claimed) != 1 || claimed[kept.Session].Node != "b" {
		t.Errorf("claimed %v", claimed)
	}
	if left := server.Do("ZRANGE", s.due(kept.Session), "0", "-1"); left != kept.Session || len(s.log.lines("level=ERROR")) != 0 {
		t.Errorf("still due: %s; logged %q", left, s.log.lines("level=ERROR"))
	}
	lost.Version = 5
	s.saved(t, store.Done, lost)
	if held := s.acquired(t, lost.Session, 1, "b"); !held.Known || held.Record.App != lost.App || held.Record.Version != 5 {
		t.Errorf("acquire: %+v", held)
	}
}
