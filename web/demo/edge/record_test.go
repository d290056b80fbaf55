package edge

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// In each case one call begins with a token of 60 s.
func TestLostSeconds(t *testing.T) {
	minute := func() mint { return rtc("7", time.Minute) }
	sleep := func(seconds float64) { pass(time.Duration(seconds * float64(time.Second))) }
	for _, c := range []struct {
		name       string
		play       func(t *testing.T, e *Edge, call *Call)
		lost, held float64
		state      string
	}{
		{"back after a while", func(t *testing.T, e *Edge, call *Call) {
			sleep(60 + 2.25)
			mustJoin(t, e, inRoom("7", minute()))
			sleep(10)
		}, 2.25, 70, "in-call"},
		{"dropped twice", func(t *testing.T, e *Edge, call *Call) {
			sleep(60 + 2)
			mustJoin(t, e, inRoom("7", minute()))
			sleep(60 + 3)
			mustJoin(t, e, inRoom("7", minute()))
		}, 5, 120, "in-call"},
		{"refused join and renewal end nothing", func(t *testing.T, e *Edge, call *Call) {
			old := minute().token()
			sleep(60 + 5)
			if _, err := e.Join(JoinRequest{RTC, "room", "7", old}); codeOf(t, err) != CodeExpired {
				t.Error(err)
			}
			if err := call.Renew(minute().token()); codeOf(t, err) != CodeNotJoined {
				t.Error(err)
			}
			sleep(4)
		}, 9, 60, "dropped"},
		{"left after the drop", func(t *testing.T, e *Edge, call *Call) {
			sleep(60 + 7)
			if err := call.Leave(); err != nil {
				t.Error(err)
			}
			sleep(100)
			mustJoin(t, e, inRoom("7", minute()))
		}, 7, 60, "in-call"},
		{"broke", func(t *testing.T, e *Edge, call *Call) {
			sleep(10)
			call.Break()
			sleep(100)
			mustJoin(t, e, inRoom("7", minute()))
			sleep(1)
		}, 0, 11, "in-call"},
		{"broke after the drop and back", func(t *testing.T, e *Edge, call *Call) {
			sleep(60 + 7)
			call.Break()
			sleep(100)
			mustJoin(t, e, inRoom("7", minute()))
			sleep(1)
		}, 107, 61, "in-call"},
		{"broke at the second of its end", func(t *testing.T, e *Edge, call *Call) {
			sleep(60)
			call.Break()
			sleep(5)
			mustJoin(t, e, inRoom("7", minute()))
		}, 5, 60, "in-call"},
		{"another call of the user", func(t *testing.T, e *Edge, call *Call) {
			sleep(60)
			m := minute()
			m.parts[0].names[0] = "hall"
			other := mustJoin(t, e, JoinRequest{RTC, "hall", "7", m.token()})
			if err := other.Leave(); err != nil {
				t.Error(err)
			}
			sleep(3)
		}, 3, 60, "dropped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEdge(t)
				c.play(t, e, mustJoin(t, e, inRoom("7", minute())))
				record := e.Record()
				if record.Total.LostSeconds != c.lost || record.Total.HeldSeconds != c.held {
					t.Errorf("lost %v s, held %v s; want %v and %v", record.Total.LostSeconds, record.Total.HeldSeconds, c.lost, c.held)
				}
				var state string
				for _, call := range record.Calls {
					if call.Channel == "room" {
						state = call.State
					}
				}
				if state != c.state {
					t.Errorf("state %q, want %q", state, c.state)
				}
				if diff := cmp.Diff(record, e.Record()); diff != "" {
					t.Errorf("reading changes the record:\n%s", diff)
				}
				e.Close()
			})
		})
	}
}

func TestRecordJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		call := mustJoin(t, e, inRoom("7", rtc("7", time.Minute)))
		mustJoin(t, e, JoinRequest{RTM, "", "ann", login(2, "ann", time.Hour).token()})
		if _, err := e.Join(inRoom("9", rtc("8", time.Minute))); err == nil {
			t.Fatal("admitted")
		}
		pass(50 * time.Second)
		mustRenew(t, call, rtc("7", time.Minute))
		pass(100 * time.Second)
		got, err := json.Marshal(e.Record())
		if err != nil {
			t.Fatal(err)
		}
		want := `{"total":{"lostSeconds":40,"heldSeconds":260,"joins":2,"joinsRefused":1,"renewalsAccepted":1,"renewalsRefused":0,` +
			`"drops":1,"silentDrops":0,"breaks":0,"minMarginSeconds":10},"calls":[` +
			`{"leg":"rtc","channel":"room","user":"7","state":"dropped","lostSeconds":40,"heldSeconds":110,"joins":1,"joinsRefused":0,` +
			`"renewalsAccepted":1,"renewalsRefused":0,"drops":1,"silentDrops":0,"breaks":0,"minMarginSeconds":10},` +
			`{"leg":"rtm","user":"ann","state":"in-call","lostSeconds":0,"heldSeconds":150,"joins":1,"joinsRefused":0,` +
			`"renewalsAccepted":0,"renewalsRefused":0,"drops":0,"silentDrops":0,"breaks":0,"minMarginSeconds":null}]}`
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		e.Close()
	})
}

// TestManyCalls has many calls at the same time: under -race it checks the locks.
func TestManyCalls(t *testing.T) {
	const calls = 20
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t)
		var all sync.WaitGroup
		for i := range calls {
			user := fmt.Sprint(i + 1)
			all.Go(func() {
				for range 5 {
					call, err := e.Join(inRoom(user, rtc(user, time.Minute)))
					if err != nil {
						t.Error(err)
						return
					}
					pass(45 * time.Second)
					mustRenew(t, call, rtc(user, time.Minute))
					for range call.Events() {
						e.Record()
					}
				}
			})
		}
		all.Wait()
		margin := 15.0
		want := Tally{HeldSeconds: calls * 5 * 105, Joins: calls * 5, RenewalsAccepted: calls * 5, Drops: calls * 5, MinMarginSeconds: &margin}
		if diff := cmp.Diff(want, e.Record().Total); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
