package scheduler

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
)

// At the limit, detached sessions are removed, so that clients can join. The store, too, then has
// no more sessions than the limit. The key of a removed session opens it again.
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

// If a node is full, a join removes the session that has been detached for longest, and an event
// reports that this session expired. A renewal over HTTP counts like a connection: it starts the
// detached time again.
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

// While a session is being removed, it takes no room any more: a change of another session at that
// time does not remove a second one.
func TestOneRemovalForOneJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.MaxSessions = 3
		var third *fakeClient
		var expired atomic.Int32
		c.SendEvent = func(e session.Event, _ func(bool)) {
			if e.Type != session.EventExpired || expired.Add(1) > 1 {
				return
			}
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				third.current().Detach()
			}()
			<-changed
		}
		s := start(t, c)
		joinedDetached(t, s, time.Hour)
		joinedDetached(t, s, time.Hour)
		third = joined(t, s, time.Hour)
		joined(t, s, time.Hour)
		equal(t, "removed sessions", expired.Load(), 1)
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

// TestAnyCrowd has many clients join, leave, disconnect and resume at random, on a node that may
// keep one to four sessions.
func TestAnyCrowd(t *testing.T) {
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		c := testConfig(t)
		c.MaxSessions = 1 + r.IntN(4)
		s := start(t, c)
		var here, away []*fakeClient
		take := func(from *[]*fakeClient) *fakeClient {
			i := r.IntN(len(*from))
			p := (*from)[i]
			*from = slices.Delete(*from, i, i+1)
			return p
		}
		for range 40 {
			switch action := r.IntN(5); {
			case action == 0:
				p := &fakeClient{t: t, scheduler: s}
				err := p.open(session.Join{Identity: someone, Caller: anybody})
				if len(here) >= c.MaxSessions {
					wantCode(t, err, session.CodeUnavailable)
				} else {
					must(t, err)
					here = append(here, p)
				}
			case action == 1 && len(here) > 0:
				p := take(&here)
				p.current().Detach()
				away = append(away, p)
			case action == 2 && len(here) > 0:
				take(&here).current().Leave()
			case action == 3 && len(away) > 0:
				here = append(here, take(&away).comesBack())
			case action == 4 && len(away) > 0:
				pick(r, away...).renewOn(s)
			}
			wait(pick(r, 0, 0, 0, time.Second, 10*time.Minute))
			checkCrowd(t, s, here)
		}
		for _, p := range here {
			p.current().Leave()
		}
		wait(time.Second)
	})
}

// checkCrowd compares the sessions in the node's table with the connected clients.
func checkCrowd(t *testing.T, s *Scheduler, here []*fakeClient) {
	t.Helper()
	whole(t, s)
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	detached := s.table.detached.Len()
	for _, e := range s.table.open {
		check(t, (e.session.State() == session.Detached) == (e.slot.detached != nil), "state %d, in the list of detached sessions: %v", e.session.State(), e.slot.detached != nil)
	}
	equal(t, "open sessions", len(s.table.open), len(here)+detached)
	check(t, detached == 0 || len(s.table.open) <= s.table.limit, "%d open sessions, of which %d are detached, with room for %d", len(s.table.open), detached, s.table.limit)
	for _, p := range here {
		p.wantServed(0)
	}
}
