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
	name   string
	spoil  func(server *redistest.Server, key string)
	save   store.Verdict // of its owner's next record
	grip   string        // new, foreign or held
	claims bool          // the scripts see nothing wrong with it
}

func set(field, value string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HSET", key, field, value) }
}

func unset(field string) func(*redistest.Server, string) {
	return func(server *redistest.Server, key string) { server.Do("HDEL", key, field) }
}

var manyBroken = []broken{
	{"empty fence", set("fence", ""), store.Foreign, "foreign", false},
	{"fence of words", set("fence", "one two three four five six"), store.Foreign, "foreign", false},
	{"fence without rev", set("fence", "1 1 1 a a"), store.Foreign, "foreign", false},
	{"fence with half a number", set("fence", "1 1 1 a a 1.5"), store.Foreign, "foreign", false},
	{"fence with a long letter", set("fence", "1 1 1 aa a 1"), store.Foreign, "foreign", false},
	{"fence of bytes", set("fence", "\x00\xff 1"), store.Foreign, "foreign", false},
	{"a string", func(server *redistest.Server, key string) { server.Do("SET", key, "1 1 1 a a 1") }, store.Foreign, "foreign", false},
	{"a list", func(server *redistest.Server, key string) {
		server.Do("DEL", key)
		server.Do("RPUSH", key, "fence", "1 1 1 a a 1")
	}, store.Foreign, "foreign", false},
	// Without a fence it is not there, and what is left of it is replaced.
	{"no fence", unset("fence"), store.Saved, "new", false},
	// The owner mends these.
	{"no state", unset("state"), store.Saved, "foreign", true},
	{"bad state", set("state", "1 2 3"), store.Saved, "held", true},
	{"bad ttl", set("ttl", "long"), store.Saved, "held", true},
	{"no until", unset("until"), store.Saved, "held", true},
	{"bad uid", set("uid", "-7"), store.Saved, "held", true},
	{"no app", unset("app"), store.Saved, "held", true},
	{"long ttl", set("ttl", "2000000000"), store.Saved, "held", true},
	{"expiry in milliseconds", set("state", "1 4102444800000000 1 0 0 0 3 - - - "), store.Saved, "held", true},
	{"nobody's", func(server *redistest.Server, key string) { server.Do("HDEL", key, "channel", "rtm") }, store.Saved, "held", true},
	{"high epoch", set("fence", "1 18446744073709551615 1 a a 1"), store.Foreign, "foreign", false},
	{"epoch beyond all numbers", set("fence", "1 "+strings.Repeat("9", 400)+" 1 a a 1"), store.Foreign, "foreign", false},
	{"high proven", set("fence", "1 1 9999999999999999 a a 1"), store.Foreign, "foreign", false},
	{"high rev", set("fence", "1 1 1 a a 9999999999999999"), store.Foreign, "foreign", false},
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
	s.saved(t, store.Saved, all...)
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
	for _, rev := range []uint64{1, 2} { // all of a record, and what changes
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
			all[i].Rev = rev
		}
		outcomes, err := s.Save(within(t), all)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if i%2 == 0 && o.Verdict != store.Saved {
				t.Errorf("rev %d: beside a broken one: verdict %d", rev, o.Verdict)
			}
			if i%2 == 0 {
				continue
			}
			if b := manyBroken[i/2]; o.Verdict != b.save {
				t.Errorf("rev %d: %s: verdict %d, want %d", rev, b.name, o.Verdict, b.save)
			} else if b.save == store.Foreign && server.Do("DUMP", s.hash(all[i].Session)) != before[all[i].Session] {
				t.Errorf("rev %d: %s: it was not left alone", rev, b.name)
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
		s.saved(t, store.Foreign, record("S"))
		_, err := s.Grip(within(t), store.Grip{Session: "S", Epoch: 9, Node: "a"})
		if !errors.Is(err, store.ErrForeign) {
			t.Errorf("grip: %v", err)
		}
	}
}

func TestGripOfBroken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, bad, _ := spoilt(t, server)
	before := s.dumps(server, bad)
	for i, b := range manyBroken {
		id := bad[i].Session
		held, err := s.Grip(within(t), store.Grip{Session: id, Epoch: 1, Node: "b", Attach: true})
		switch b.grip {
		case "foreign":
			if !errors.Is(err, store.ErrForeign) || server.Do("DUMP", s.hash(id)) != before[id] {
				t.Errorf("%s: %+v, %v; or not left alone", b.name, held, err)
			}
		default: // its client's key says enough to go on
			if err != nil || held.Known || held.Epoch != 2 {
				t.Errorf("%s: %+v, %v", b.name, held, err)
			}
			again := bad[i]
			again.Epoch, again.Node = held.Epoch, "b"
			s.saved(t, store.Saved, again)
			held, err = s.Grip(within(t), store.Grip{Session: id, Epoch: 2, Node: "b"})
			if again.Due = held.Record.Due; err != nil || !held.Known || held.Record.Identity.RTC.UID != again.Identity.RTC.UID {
				t.Errorf("%s, mended: %+v, %v", b.name, held, err)
			}
		}
		if logged := len(s.log.lines("session=" + id + " ")); b.grip == "held" && logged != 1 {
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
	s.saved(t, store.Saved, lost, kept)
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
	lost.Rev = 5
	s.saved(t, store.Saved, lost)
	held, err := s.Grip(within(t), store.Grip{Session: lost.Session, Epoch: 1, Node: "b"})
	if err != nil || !held.Known || held.Record.App != lost.App || held.Record.Rev != 5 {
		t.Errorf("grip: %+v, %v", held, err)
	}
}
