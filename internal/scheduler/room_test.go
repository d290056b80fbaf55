package scheduler

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// At the limit, detached sessions are removed, so that clients can join.
func TestDetachedSessionsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		memory := store.NewMemory(time.Now)
		c.Store, c.MaxSessions = memory, 20
		s := start(t, c)
		stays := joined(t, s, time.Hour)
		first := &fakeClient{t: t, scheduler: s}
		for i := range 200 {
			p := first
			if i > 0 {
				p = &fakeClient{t: t, scheduler: s}
			}
			p.join(24 * time.Hour)
			p.current().Detach()
		}
		good := joined(t, s, time.Hour)
		wait(time.Second)
		check(t, len(s.table.open) == 20, "%d sessions are kept", len(s.table.open))
		if open, tombstones := memory.Len(); open != 20 || tombstones != 0 {
			t.Errorf("the store has %d sessions, and the ends of %d", open, tombstones)
		}
		if attached, detached := testutil.ToFloat64(s.metrics.sessions[session.Attached]), testutil.ToFloat64(s.metrics.sessions[session.Detached]); attached != 2 || detached != 18 {
			t.Errorf("%v attached, %v detached are counted", attached, detached)
		}
		whole(t, s)
		back := first.again()
		err := back.resume(first)
		require(t, err == nil, "one that gave way: %v", err)
		check(t, back.got().joined.Session == first.got().joined.Session && back.got().joined.Seq == 2, "joined %+v", back.got().joined)
		wait(10 * time.Hour)
		for _, p := range []*fakeClient{stays, good, back} {
			check(t, p.got().ended == nil && !p.got().lost, "an attached session ended: %+v", p.got())
		}
	})
}

// The session that has been detached for longest is removed, and an event reports that it expired.
func TestLongestDetachedIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.MaxSessions = 2
		var ended []string
		c.SendEvent = func(e session.Event, settled func(bool)) {
			if e.Type == session.EventEnded || e.Type == session.EventExpired {
				ended = append(ended, e.Session+" "+strings.TrimPrefix(string(e.Type), "session."))
			}
			go settled(true)
		}
		s := start(t, c)
		long, short, next := &fakeClient{t: t, scheduler: s}, &fakeClient{t: t, scheduler: s}, &fakeClient{t: t, scheduler: s}
		short.join(time.Hour)
		long.join(time.Hour)
		long.current().Detach()
		wait(time.Second)
		short.current().Detach()
		wait(time.Second)
		next.join(time.Hour)
		wait(time.Second)
		want := long.got().joined.Session + " expired"
		check(t, len(ended) == 1 && ended[0] == want, "ended %v, want %s", ended, want)
		check(t, s.table.open[short.got().joined.Session] != nil, "the one that is detached for a shorter time gave way")
	})
}

// Sessions that a node has adopted from a dead node do not count towards the adopting node's
// limit.
func TestAdoptedSessionsTakeNoRoom(t *testing.T) {
	table := newTable(1)
	if !table.insert(&entry{claims: session.ResumeClaims{Session: "adopted"}}, nil, true) || !table.join(&entry{claims: session.ResumeClaims{Session: "own"}}) {
		t.Error("no room for the node's own session")
	}
	check(t, !table.join(&entry{claims: session.ResumeClaims{Session: "another"}}), "room for two")
}

// Sessions whose clients renew over HTTP are removed last, after the sessions of clients that only
// disconnected.
func TestClientsThatRenewOverHTTPAreRemovedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.MaxSessions = 2
		s := start(t, c)
		asks, hungUp, next := &fakeClient{t: t, scheduler: s}, &fakeClient{t: t, scheduler: s}, &fakeClient{t: t, scheduler: s}
		for _, p := range []*fakeClient{asks, hungUp} {
			p.join(time.Hour)
			p.current().Detach()
			wait(time.Second)
		}
		asks.renewOn(s)
		next.join(time.Hour)
		wait(time.Second)
		if s.table.open[asks.got().joined.Session] == nil || s.table.open[hungUp.got().joined.Session] != nil {
			t.Error("the session of the client that asks gave way")
		}
	})
}

// move is one action of one client.
type move struct {
	what    string
	who     int // index among the clients that can do the action
	seconds int // seconds until the next action
}

// TestAnyCrowd has many clients join, leave, disconnect and resume at random, on a node with a low
// limit.
func TestAnyCrowd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		room := rapid.IntRange(1, 4).Draw(rt, "room")
		var moves []move
		for range rapid.IntRange(1, 40).Draw(rt, "moves") {
			moves = append(moves, move{
				what:    rapid.SampledFrom([]string{"join", "hang up", "leave", "resume", "renew over HTTP"}).Draw(rt, "what"),
				who:     rapid.IntRange(0, 40).Draw(rt, "who"),
				seconds: rapid.SampledFrom([]int{0, 0, 0, 1, 600}).Draw(rt, "seconds"),
			})
		}
		synctest.Test(t, func(t *testing.T) {
			c := testConfig(t)
			c.MaxSessions = room
			w := &crowd{t: t, s: start(t, c), room: room}
			for _, m := range moves {
				w.step(m)
				w.check()
			}
			for _, p := range w.here {
				p.current().Leave()
			}
			wait(time.Second)
		})
		if t.Failed() {
			rt.Fatalf("room for %d; %+v", room, moves)
		}
	})
}

type crowd struct {
	t          *testing.T
	s          *Scheduler
	room       int
	here, away []*fakeClient
}

// take removes one client from a list and returns it.
func take(from *[]*fakeClient, who int) *fakeClient {
	if len(*from) == 0 {
		return nil
	}
	i := who % len(*from)
	p := (*from)[i]
	*from = append((*from)[:i:i], (*from)[i+1:]...)
	return p
}

func (w *crowd) step(m move) {
	switch m.what {
	case "join":
		w.join()
	case "hang up":
		if p := take(&w.here, m.who); p != nil {
			p.current().Detach()
			w.away = append(w.away, p)
		}
	case "leave":
		if p := take(&w.here, m.who); p != nil {
			p.current().Leave()
		}
	case "resume":
		if p := take(&w.away, m.who); p != nil {
			next := p.again()
			if err := next.resume(p); err != nil {
				w.t.Error(err)
			}
			w.here = append(w.here, next)
		}
	case "renew over HTTP":
		if len(w.away) > 0 {
			if _, err := w.s.RenewByKey(context.Background(), w.away[m.who%len(w.away)].resumeRequest()); err != nil {
				w.t.Error(err)
			}
		}
	}
	wait(time.Duration(m.seconds) * time.Second)
}

func (w *crowd) join() {
	p := &fakeClient{t: w.t, scheduler: w.s}
	full := len(w.here) >= w.room
	a, err := w.s.Join(context.Background(), session.Join{Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Caller: anybody}, p)
	if (code(err) == session.CodeUnavailable) != full || !full && err != nil {
		w.t.Errorf("%d are attached, with room for %d: %v", len(w.here), w.room, err)
	}
	if err == nil {
		p.hold(a)
		w.here = append(w.here, p)
	}
}

// check compares the sessions in the node's table with the sessions that the clients expect.
func (w *crowd) check() {
	whole(w.t, w.s)
	w.s.table.mu.Lock()
	defer w.s.table.mu.Unlock()
	attached, detached := 0, 0
	for _, e := range w.s.table.open {
		switch {
		case e.session.State() == session.Attached && e.slot.detached == nil:
			attached++
		case e.session.State() == session.Detached && e.slot.detached != nil:
			detached++
		default:
			w.t.Errorf("state %d, among those who give way: %v", e.session.State(), e.slot.detached != nil)
		}
	}
	if attached != len(w.here) || detached != w.s.table.detached.Len() {
		w.t.Errorf("%d are attached and %d detached, want %d and %d", attached, detached, len(w.here), w.s.table.detached.Len())
	}
	if detached > 0 && attached+detached > w.room {
		w.t.Errorf("%d attached and %d detached, with room for %d", attached, detached, w.room)
	}
	for _, p := range w.here {
		if got := p.got(); got.ended != nil || got.lost {
			w.t.Errorf("one that is there was ended: %+v", got)
		}
	}
}
