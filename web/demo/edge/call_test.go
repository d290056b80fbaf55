package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// timed is an event with the time from the start of the test to the event.
type timed struct {
	After time.Duration
	Name  string
}

// listen records the events of a call. The returned function waits until the call has ended, and returns the events.
func listen(call *Call, since time.Time) func() []timed {
	var seen []timed
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range call.Events() {
			seen = append(seen, timed{time.Since(since), event.Name})
		}
	}()
	return func() []timed {
		<-done
		return seen
	}
}

func mustJoin(t *testing.T, e *Edge, request JoinRequest) *Call {
	t.Helper()
	call, err := e.Join(request)
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func mustRenew(t *testing.T, call *Call, m mint) {
	t.Helper()
	if err := call.Renew(m.token()); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	const s = time.Second
	const none = -1
	with := func(life time.Duration, privileges ...uint32) func() mint {
		return func() mint {
			m := rtc("7", life)
			if privileges != nil {
				m.parts[0].privileges = privileges
			}
			return m
		}
	}
	for _, c := range []struct {
		name       string
		mint       func() mint
		warn, drop time.Duration // times after the start; no event is sent if warn is none
	}{
		{"an hour", with(time.Hour), 3570 * s, 3600 * s},
		{"two days are cut to one", with(48 * time.Hour), 86370 * s, 86400 * s},
		{"exactly 30 s: at once", with(30 * s), 0, 30 * s},
		{"privilege before token", with(time.Hour, 1, 60), 30 * s, 60 * s},
		{"publishing ends, the call goes on", with(time.Hour, 1, 3600, 2, 60, 3, 60, 4, 60), 3570 * s, 3600 * s},
		{"token before privilege", with(60*s, 1, 3600), none, 60 * s},
		{"privilege never ends", with(60*s, 1, 0), none, 60 * s},
		{"privilege never ends, the token is cut", with(48*time.Hour, 1, 0), none, 86400 * s},
		{"issued 20 s before", func() mint {
			m := rtc("7", 100*s)
			m.issued = time.Now().Add(-20 * s)
			return m
		}, 50 * s, 80 * s},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				e := newEdge(t)
				call := mustJoin(t, e, inRoom("7", c.mint()))
				var want []timed
				if c.warn != none {
					want = []timed{{c.warn, WillExpire}, {c.drop, DidExpire}}
				}
				if diff := cmp.Diff(want, listen(call, start)()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				if got := time.Since(start); got != c.drop {
					t.Errorf("dropped after %s, want %s", got, c.drop)
				}
				if call.InCall() {
					t.Error("still in the call")
				}
				if total := e.Record().Total; total.HeldSeconds != c.drop.Seconds() || total.Drops != 1 || (total.SilentDrops == 1) != (c.warn == none) {
					t.Errorf("record: %+v", total)
				}
			})
		})
	}
}

// Tokens expire at whole seconds of the wall clock, whenever the client joins.
func TestJoinBetweenTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := rtc("7", time.Minute)
		m.issued = time.Now()
		pass(700 * time.Millisecond)
		e := newEdge(t)
		for range mustJoin(t, e, inRoom("7", m)).Events() {
			continue
		}
		if held := e.Record().Total.HeldSeconds; held != 59.3 {
			t.Errorf("held %v s, want 59.3", held)
		}
	})
}

func TestEvents006(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := newEdge(t)
		ts := start.Add(24 * time.Hour).Unix()
		call := mustJoin(t, e, JoinRequest{RTC, "room", "7", mint006("room", "7", ts, 1, uint32(start.Unix()+90))})
		events := listen(call, start)
		pass(80 * time.Second)
		if err := call.Renew(mint006("room", "", ts, 1, uint32(start.Unix()+200))); err != nil {
			t.Fatal(err)
		}
		want := []timed{{60 * time.Second, WillExpire}, {170 * time.Second, WillExpire}, {200 * time.Second, DidExpire}}
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// The privilege never expires, so no event comes when the token itself expires after a day.
		silent := listen(mustJoin(t, e, JoinRequest{RTC, "room", "7", mint006("room", "7", ts, 1, 0)}), start)
		if got := silent(); got != nil || time.Since(start) != 24*time.Hour {
			t.Errorf("after %s: %v", time.Since(start), got)
		}
	})
}

// TestLateTimer stops the timer of a call. The next operation must drop the call, and count the lost time from the
// second in which the token expired.
func TestLateTimer(t *testing.T) {
	for name, next := range map[string]func(e *Edge, call *Call){
		"join":   func(e *Edge, _ *Call) { mustJoin(t, e, inRoom("7", rtc("7", time.Hour))) },
		"leave":  func(_ *Edge, call *Call) { _ = call.Leave() },
		"break":  func(_ *Edge, call *Call) { call.Break() },
		"record": func(*Edge, *Call) {},
		"ask":    func(_ *Edge, call *Call) { call.InCall() },
		"close":  func(e *Edge, _ *Call) { e.Close() },
		"renew":  func(_ *Edge, call *Call) { _ = call.Renew(rtc("7", time.Hour).token()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEdge(t)
			call := mustJoin(t, e, inRoom("7", rtc("7", 20*time.Second)))
			call.timer.Stop()
			pass(23 * time.Second)
			next(e, call)
			if total := e.Record().Total; total.LostSeconds != 3 || total.HeldSeconds != 20 || total.Drops != 1 {
				t.Errorf("%s: record %+v", name, total)
			}
			e.Close()
		})
	}
}

func TestSameUserElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		first := mustJoin(t, e, inRoom("7", rtc("7", time.Hour)))
		pass(10 * time.Second)
		second := mustJoin(t, e, inRoom("7", rtc("", time.Hour)))
		if got := <-first.Events(); got != (Event{StateChange, RTC, ReasonUIDBanned}) {
			t.Errorf("the first was told %v", got)
		}
		if err := first.Leave(); codeOf(t, err) != CodeNotJoined {
			t.Errorf("the first leaves: %v", err)
		}
		first.Break()
		if !second.InCall() {
			t.Error("what the first does ends the second's call")
		}
		pass(10 * time.Second)
		e.Close()
		if total := e.Record().Total; total.HeldSeconds != 20 || total.LostSeconds != 0 || total.Joins != 2 || total.Breaks != 0 {
			t.Errorf("record: %+v", total)
		}
		if _, err := e.Join(inRoom("7", rtc("7", time.Hour))); err == nil {
			t.Error("a closed edge admits")
		}
	})
}
