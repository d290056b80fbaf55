package redis

import (
	"errors"
	"strings"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// broken is a way in which a hash may have been spoilt, by hand or by a fault.
type broken struct {
	name    string
	spoil   func(server *redistest.Server, key string)
	save    store.Action // of its owner's next record
	acquire string       // new, foreign or held
	claims  bool         // the scripts see nothing wrong with it
}

func set(field, value string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HSET", key, field, value) }
}

func unset(field string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HDEL", key, field) }
}

var manyBroken = []broken{
	{"empty fence", set("fence", ""), store.LeaveAlone, "foreign", false},
	{"fence of words", set("fence", "one two three four five six"), store.LeaveAlone, "foreign", false},
	{"fence without version", set("fence", "1 1 1 a a"), store.LeaveAlone, "foreign", false},
	{"fence with half a number", set("fence", "1 1 1 a a 1.5"), store.LeaveAlone, "foreign", false},
	{"fence with a long letter", set("fence", "1 1 1 aa a 1"), store.LeaveAlone, "foreign", false},
	{"fence of bytes", set("fence", "\x00\xff 1"), store.LeaveAlone, "foreign", false},
	{"a string", func(server *redistest.Server, key string) { server.Do("SET", key, "1 1 1 a a 1") }, store.LeaveAlone, "foreign", false},
	{"a list", func(server *redistest.Server, key string) {
		server.Do("DEL", key)
		server.Do("RPUSH", key, "fence", "1 1 1 a a 1")
	}, store.LeaveAlone, "foreign", false},
	// Without a fence it is not there, and what is left of it is replaced.
	{"no fence", unset("fence"), store.Done, "new", false},
	// The owner mends these.
	{"no state", unset("state"), store.Done, "foreign", true},
	{"bad state", set("state", "1 2 3"), store.Done, "held", true},
	{"bad ttl", set("ttl", "long"), store.Done, "held", true},
	{"no until", unset("until"), store.Done, "held", true},
	{"bad uid", set("uid", "-7"), store.Done, "held", true},
	{"no app", unset("app"), store.Done, "held", true},
	{"long ttl", set("ttl", "2000000000"), store.Done, "held", true},
	{"expiry in milliseconds", set("state", "1 4102444800000000 1 0 0 0 3 - - - "), store.Done, "held", true},
	{"nobody's", func(server *redistest.Server, key string) { server.Do("HDEL", key, "channel", "rtm") }, store.Done, "held", true},
	{"high epoch", set("fence", "1 18446744073709551615 1 a a 1"), store.LeaveAlone, "foreign", false},
	{"epoch beyond all numbers", set("fence", "1 "+strings.Repeat("9", 400)+" 1 a a 1"), store.LeaveAlone, "foreign", false},
	{"high proven", set("fence", "1 1 9999999999999999 a a 1"), store.LeaveAlone, "foreign", false},
	{"high version", set("fence", "1 1 1 a a 9999999999999999"), store.LeaveAlone, "foreign", false},
}

// spoilt has a shard of broken records, each between two that are not.
func spoilt(t *testing.T, server *redistest.Server) (s *stage, bad, good []store.Record) {
	t.Helper()
	server.Do("FLUSHALL")
	s = openAt(t, server.UnixURL())
	next := idsIn(0)
	var all []store.Record
	for i := range 2*len(manyBroken) + 1 {
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
	for i, b := range manyBroken {
		b.spoil(server, s.hash(bad[i].Session))
	}
	return s, bad, good
}

// dumps are the values of the records' keys.
func (s *stage) dumps(server *redistest.Server, records []store.Record) map[string]string {
	values := make(map[string]string)
	for _, r := range records {
		values[r.Session] = server.Do("DUMP", s.hash(r.Session))
	}
	return values
}

func TestSaveOverBroken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, version := range []uint64{1, 2} { // all of a record, and what changes
		s, bad, good := spoilt(t, server)
		before := s.dumps(server, bad)
		var all []store.Record
		for i := range good {
			all = append(all, good[i])
			if i < len(bad) {
				all = append(all, bad[i])
			}
		}
		for i := range all {
			all[i].Version = version
		}
		outcomes, err := s.Save(within(t), all)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if i%2 == 0 && o.Action != store.Done {
				t.Errorf("version %d: beside a broken one: action %d", version, o.Action)
			}
			if i%2 == 0 {
				continue
			}
			if b := manyBroken[i/2]; o.Action != b.save {
				t.Errorf("version %d: %s: action %d, want %d", version, b.name, o.Action, b.save)
			} else if b.save == store.LeaveAlone && server.Do("DUMP", s.hash(all[i].Session)) != before[all[i].Session] {
				t.Errorf("version %d: %s: it was not left alone", version, b.name)
			}
		}
	}
}

// TestSaveOverBrokenEnd has the state of an ended session be no state.
func TestSaveOverBrokenEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	for _, spoil := range []func(*redistest.Server, string){set("state", "gone"), unset("state")} {
		server.Do("FLUSHALL")
		server.Do("HSET", s.hash("S"), "fence", "1 5 5 e b 1", "state", "1 1 1 1 0 0 0 - - - left")
		spoil(server, s.hash("S"))
		s.saved(t, store.LeaveAlone, record("S"))
		_, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 9, Node: "a"})
		if !errors.Is(err, store.ErrUnreadable) {
			t.Errorf("acquire: %v", err)
		}
	}
}

func TestAcquireOfBroken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, bad, _ := spoilt(t, server)
	before := s.dumps(server, bad)
	for i, b := range manyBroken {
		id := bad[i].Session
		held, err := s.Acquire(within(t), store.AcquireRequest{Session: id, Epoch: 1, Node: "b", Attach: true})
		switch b.acquire {
		case "foreign":
			if !errors.Is(err, store.ErrUnreadable) || server.Do("DUMP", s.hash(id)) != before[id] {
				t.Errorf("%s: %+v, %v; or not left alone", b.name, held, err)
			}
		default: // its client's key says enough to go on
			if err != nil || held.Known || held.Epoch != 2 {
				t.Errorf("%s: %+v, %v", b.name, held, err)
			}
			again := bad[i]
			again.Epoch, again.Node = held.Epoch, "b"
			s.saved(t, store.Done, again)
			held, err = s.Acquire(within(t), store.AcquireRequest{Session: id, Epoch: 2, Node: "b"})
			if again.Due = held.Record.Due; err != nil || !held.Known || held.Record.Identity.RTC.UID != again.Identity.RTC.UID {
				t.Errorf("%s, mended: %+v, %v", b.name, held, err)
			}
		}
		if logged := len(s.log.lines("session=" + id + " ")); b.acquire == "held" && logged != 1 {
			t.Errorf("%s: logged %d times", b.name, logged)
		}
	}
}

func TestSweepOverBroken(t *testing.T) {
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
		for i, b := range manyBroken {
			lines := s.log.lines("session=" + bad[i].Session + " ")
			if len(lines) != 1 || !strings.Contains(lines[0], "level=ERROR") {
				t.Errorf("round %d: %s: logged %q", round, b.name, lines)
			}
			if after := server.Do("DUMP", s.hash(bad[i].Session)); !b.claims && after != before[bad[i].Session] {
				t.Errorf("round %d: %s: it was not left alone", round, b.name)
			}
		}
		// Nobody is told again before the lease of those that can be read.
		if claimed := s.swept(t, "c"); len(claimed) != 0 {
			t.Errorf("round %d: claimed %v at once", round, claimed)
		}
		s.pass(store.Lease + store.Slack)
	}
}

// TestLostHashes has the schedule forget sessions that were removed by hand.
func TestLostHashes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openAt(t, server.UnixURL())
	lost, kept := overdue(idIn(4, 0)), overdue(idIn(4, 1))
	s.saved(t, store.Done, lost, kept)
	server.Do("DEL", s.hash(lost.Session))
	if claimed := s.swept(t, "b"); len(claimed) != 1 || claimed[kept.Session].Node != "b" {
		t.Errorf("claimed %v", claimed)
	}
	if left := server.Do("ZRANGE", s.due(kept.Session), "0", "-1"); left != kept.Session {
		t.Errorf("still due: %s", left)
	}
	if lines := s.log.lines("level=ERROR"); len(lines) != 0 {
		t.Error(lines)
	}
	// Its owner writes it again, all of it, with what only was to change.
	lost.Version = 5
	s.saved(t, store.Done, lost)
	held, err := s.Acquire(within(t), store.AcquireRequest{Session: lost.Session, Epoch: 1, Node: "b"})
	if err != nil || !held.Known || held.Record.App != lost.App || held.Record.Version != 5 {
		t.Errorf("acquire: %+v, %v", held, err)
	}
}
