package hook

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// When its context is done, Run delivers what it can and leaves the other events unsettled.
func TestEventsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.endpoint.limits.atOnce = 2 }).run()
		s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
			switch {
			case d.id == "stuck-joined":
				return hang(ctx, d)
			case d.id == "late-joined" && d.try == 1:
				return reply{status: 500}, nil
			case d.id == "bad-joined":
				return reply{status: 500}, nil
			}
			return after(time.Second, status[delivery](200))(ctx, d)
		}
		s.send("late-joined", "bad-joined", "bad-ended", "late-ended")
		wait(0) // two events have failed and wait for a retry
		s.send("stuck-joined", "a-joined", "b-joined", "stuck-ended")
		wait(time.Second / 2)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took != lastChance {
			t.Errorf("Run went on for %s", took)
		}
		delivered, dropped := s.outcomes()
		if want := []string{"a-joined", "b-joined", "late-ended", "late-joined"}; !slices.Equal(delivered, want) {
			t.Errorf("delivered: %v", delivered)
		}
		if len(dropped) > 0 {
			t.Errorf("dropped: %v", dropped)
		}
		if n := len(s.receiver.deliveries("bad-joined")); n != 2 {
			t.Errorf("%d attempts for what fails, want one before and one after", n)
		}
		if s.log.lines("events=4") != 1 {
			t.Errorf("logged: %s", s.log)
		}
		attempts := len(s.receiver.deliveries(""))
		s.send("after-joined")
		wait(time.Hour)
		if again, _ := s.outcomes(); len(again) != 4 || len(s.receiver.deliveries("")) != attempts {
			t.Error("something happened after Run")
		}
		// Cancelled attempts do not count as failed.
		counts(t, s.registry, `
# HELP refresher_events_attempts_total Attempts to deliver an event, by outcome: ok, refused by an answer other than 2xx, failed without an answer.
# TYPE refresher_events_attempts_total counter
refresher_events_attempts_total{outcome="failed"} 0
refresher_events_attempts_total{outcome="ok"} 4
refresher_events_attempts_total{outcome="refused"} 3
# HELP refresher_events_queued Events that are neither delivered nor dropped yet.
# TYPE refresher_events_queued gauge
refresher_events_queued 0
`, "refresher_events_attempts_total", "refresher_events_queued")
	})
}

func TestEventsStopIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil).run()
		s.send("s-joined")
		wait(time.Second)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("Run went on for %s", took)
		}
		if s.log.String() != "" {
			t.Errorf("logged: %s", s.log)
		}
	})
}

// The last attempts stop when the circuit opens. If it is open already, only one attempt is made.
func TestEventsStopWhileDown(t *testing.T) {
	for name, known := range map[string]bool{"just now": false, "known": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEventStage(t, nil)
				if s.receiver.answer = down; known {
					s.run()
				}
				for i := range 1000 {
					s.send(fmt.Sprintf("s%d-joined", i))
				}
				before, most := 0, eventsTrip+3+1 // when the circuit opens, three more attempts may be in progress; then a probe follows
				if known {
					wait(time.Hour)
					before, most = len(s.receiver.deliveries("")), 1
				} else {
					s.run()
				}
				began := time.Now()
				s.stop()
				if took := time.Since(began); took != 0 {
					t.Errorf("Run went on for %s", took)
				}
				if n := len(s.receiver.deliveries("")) - before; n < 1 || n > most {
					t.Errorf("%d attempts, want up to %d", n, most)
				}
				if delivered, dropped := s.outcomes(); len(delivered)+len(dropped) > 0 {
					t.Errorf("settled: %d, %d", len(delivered), len(dropped))
				}
			})
		})
	}
}

// settled is called for dropped events, even if Run ends at that moment.
func TestEventsStopReportsDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.maxEvents = 1 })
		s.receiver.answer = down
		s.send("a-joined", "b-joined", "c-joined")
		s.run()
		s.stop()
		if _, dropped := s.outcomes(); !slices.Equal(dropped, []string{"a-joined", "b-joined"}) {
			t.Errorf("dropped: %v", dropped)
		}
	})
}
