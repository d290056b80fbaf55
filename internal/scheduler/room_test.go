package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"refresher/internal/session"
)

// At the limit, detached sessions are removed, so that clients can join. The store keeps only as
// many sessions. The key of a removed session opens it again.
func TestDetachedSessionsGiveWay(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.config.MaxSessions = 20
		a := c.start("a")
		stays := joined(t, a.Scheduler, time.Hour)
		first := joinedDetached(t, a.Scheduler, 24*time.Hour)
		for range 199 {
			joinedDetached(t, a.Scheduler, 24*time.Hour)
		}
		good := joined(t, a.Scheduler, time.Hour)
		wait(time.Second)
		c.wantStored(20, 0)
		equal(t, "open and attached sessions", [2]int{a.open(), a.attached()}, [2]int{20, 2})
		equal(t, "detached sessions counted", testutil.ToFloat64(a.metrics.sessions[session.Detached]), 18)
		whole(t, a.Scheduler)
		back := first.comesBack()
		check(t, back.id() == first.id() && back.newest().Seq == 2, "joined %+v", back.got().joined)
		wait(10 * time.Hour)
		for _, p := range []*fakeClient{stays, good, back} {
			p.wantServed(0)
		}
	})
}

// The session that has been detached for longest is removed, where a renewal over HTTP counts as a
// connection. An event reports that the session expired.
func TestLongestDetachedIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.MaxSessions = 3
		ended := make(chan session.Event, 10)
		c.SendEvent = func(e session.Event, _ func(bool)) {
			if e.Type != session.EventJoined {
				ended <- e
			}
		}
		s := start(t, c)
		short, renews, long := joined(t, s, time.Hour), joinedDetached(t, s, time.Hour), joinedDetached(t, s, time.Hour)
		wait(time.Second)
		short.current().Detach()
		renews.renewOn(s)
		joined(t, s, time.Hour)
		wait(time.Second)
		equal(t, "events of the end", len(ended), 1)
		e := <-ended
		check(t, e.Session == long.id() && e.Type == session.EventExpired, "ended %+v, want %s", e, long.id())
	})
}

// Sessions that a node has adopted from a dead node do not count towards the adopting node's limit.
func TestAdoptedSessionsTakeNoRoom(t *testing.T) {
	table := newTable(1)
	add := func(id string) bool { return table.join(&entry{claims: session.ResumeClaims{Session: id}}) }
	if !table.insert(&entry{claims: session.ResumeClaims{Session: "adopted"}}, nil, true) || !add("own") || add("another") {
		t.Errorf("%d open sessions, want one adopted and one of the node's own", len(table.open))
	}
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
			w.here = append(w.here, p.comesBack())
		}
	case "renew over HTTP":
		if len(w.away) > 0 {
			w.away[m.who%len(w.away)].renewOn(w.s)
		}
	}
	wait(time.Duration(m.seconds) * time.Second)
}

func (w *crowd) join() {
	p := &fakeClient{t: w.t, scheduler: w.s}
	full := len(w.here) >= w.room
	err := p.open(session.Join{Identity: someone, Caller: anybody})
	if full {
		wantCode(w.t, err, session.CodeUnavailable)
		return
	}
	must(w.t, err)
	w.here = append(w.here, p)
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
		p.wantServed(0)
	}
}
