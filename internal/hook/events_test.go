package hook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil).run()
		s.receiver.answer = after(20*time.Millisecond, status[delivery](200))
		s.send("s-joined")
		s.events.Send(event("other-joined"), func(bool) {})
		wait(time.Second)
		got := s.receiver.deliveries("s-joined")
		if len(got) != 1 {
			t.Fatalf("delivered %d times", len(got))
		}
		got[0].header.Del("webhook-signature") // RoundTrip has verified this signature
		want := http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"refresher"},
			"Webhook-Id": {"s-joined"}, "Webhook-Timestamp": {fmt.Sprint(got[0].at.Unix())},
		}
		if diff := cmp.Diff(want, got[0].header); diff != "" {
			t.Error(diff)
		}
		if delivered, _ := s.outcomes(); !slices.Equal(delivered, []string{"s-joined"}) {
			t.Errorf("delivered: %v", delivered)
		}
		counts(t, s.registry, `
# HELP refresher_events_attempts_total Attempts to deliver an event, by outcome: ok, refused by an answer other than 2xx, failed without an answer.
# TYPE refresher_events_attempts_total counter
refresher_events_attempts_total{outcome="failed"} 0
refresher_events_attempts_total{outcome="ok"} 2
refresher_events_attempts_total{outcome="refused"} 0
# HELP refresher_events_queued Events that are neither delivered nor dropped yet.
# TYPE refresher_events_queued gauge
refresher_events_queued 0
# HELP refresher_events_total Events for your back end, by type and outcome: delivered, or dropped (queue full, too old, 410 Gone).
# TYPE refresher_events_total counter
refresher_events_total{outcome="delivered",type="session.ended"} 0
refresher_events_total{outcome="delivered",type="session.expired"} 0
refresher_events_total{outcome="delivered",type="session.joined"} 2
refresher_events_total{outcome="delivered",type="session.unreachable"} 0
refresher_events_total{outcome="dropped",type="session.ended"} 0
refresher_events_total{outcome="dropped",type="session.expired"} 0
refresher_events_total{outcome="dropped",type="session.joined"} 0
refresher_events_total{outcome="dropped",type="session.unreachable"} 0
`, "refresher_events_attempts_total", "refresher_events_queued", "refresher_events_total")
		if s.log.String() != "" {
			t.Errorf("logged: %s", s.log)
		}
	})
}

// The events of a session arrive one at a time in the order of Send, and each is settled once, whatever the
// receiver answers.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil)
		s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
			switch n := rand.N(10); n {
			case 0:
				return reply{status: 500}, nil
			case 1:
				return reply{}, errRefused
			case 2:
				return after(rand.N(12*time.Second), status[delivery](200))(ctx, d)
			default:
				return after(rand.N(50*time.Millisecond), status[delivery](200))(ctx, d)
			}
		}
		var want []string
		for i := range 40 {
			name := fmt.Sprintf("s%02d", i)
			want = append(want, name+"-ended", name+"-expired-3", name+"-joined", name+"-unreachable-2")
			s.send(name + "-joined")
		}
		s.run()
		for i := range 40 {
			wait(rand.N(time.Second))
			name := fmt.Sprintf("s%02d", i)
			s.send(name+"-unreachable-2", name+"-expired-3", name+"-ended")
		}
		wait(2 * time.Hour)
		delivered, dropped := s.outcomes()
		if diff := cmp.Diff(want, delivered); diff != "" || len(dropped) > 0 {
			t.Errorf("delivered: %s dropped: %v", diff, dropped)
		}
		stages := map[string]int{"joined": 1, "unreachable-2": 2, "expired-3": 3, "ended": 4}
		at := make(map[string]int)
		for _, d := range s.receiver.deliveries("") {
			_, rest, _ := strings.Cut(d.id, "-")
			if d.status != 200 {
				if stages[rest] != at[d.session]+1 {
					t.Errorf("%s tried after eventHarness %d of its session", d.id, at[d.session])
				}
				continue
			}
			if at[d.session]++; stages[rest] != at[d.session] {
				t.Errorf("%s delivered as the %d. of its session", d.id, at[d.session])
			}
		}
		if s.receiver.most != 4 {
			t.Errorf("%d deliveries at once, want 4", s.receiver.most)
		}
	})
}

// A receiver that answers slowly is not counted as failing.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.endpoint.limits.atOnce = 2 }).run()
		s.receiver.answer = after(9*time.Second, status[delivery](200))
		s.send("a-joined", "b-joined", "c-joined", "d-joined", "a-ended")
		wait(26 * time.Second)
		got := ids(s.receiver.deliveries(""))
		for pair := range slices.Chunk(got, 2) {
			slices.Sort(pair) // both begin at the same time
		}
		if diff := cmp.Diff([]string{"a-joined", "b-joined", "c-joined", "d-joined", "a-ended"}, got); diff != "" {
			t.Error(diff)
		}
		wait(2 * time.Second)
		if delivered, _ := s.outcomes(); len(delivered) != 5 || s.receiver.most != 2 {
			t.Errorf("delivered %v, %d at once", delivered, s.receiver.most)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil).run()
		s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
			if d.try == 1 {
				return hang(ctx, d)
			}
			return reply{status: 200}, nil
		}
		s.send("s-joined")
		wait(20 * time.Second)
		got := s.receiver.deliveries("")
		if len(got) != 2 {
			t.Fatalf("%d attempts", len(got))
		}
		if gap := got[1].at.Sub(got[0].at); gap < 11*time.Second || gap > 12*time.Second {
			t.Errorf("tried again after %s, want a timeout of 10 s and a wait of 1 to 2 s", gap)
		}
		counts(t, s.registry, `
# HELP refresher_events_attempts_total Attempts to deliver an event, by outcome: ok, refused by an answer other than 2xx, failed without an answer.
# TYPE refresher_events_attempts_total counter
refresher_events_attempts_total{outcome="failed"} 1
refresher_events_attempts_total{outcome="ok"} 1
refresher_events_attempts_total{outcome="refused"} 0
`, "refresher_events_attempts_total")
	})
}

// The waits between attempts to deliver an event grow up to the limit, until the event is dropped.
func TestRetry(t *testing.T) {
	for name, answer := range map[string]func(context.Context, delivery) (reply, error){
		"500":      after(0, status[delivery](500)),
		"404":      after(0, status[delivery](404)),
		"302":      after(0, status[delivery](302)),
		"no reply": down[delivery],
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEventStage(t, nil).run()
				s.receiver.answer = answer
				began := time.Now()
				s.send("s-joined", "s-ended")
				wait(24*time.Hour - time.Second)
				if delivered, dropped := s.outcomes(); len(delivered)+len(dropped) > 0 {
					t.Errorf("settled early: %v %v", delivered, dropped)
				}
				wait(time.Second)
				if _, dropped := s.outcomes(); len(dropped) != 2 {
					t.Errorf("dropped: %v", dropped)
				}
				got := s.receiver.deliveries("s-joined")
				for i, d := range got[1:] {
					bound := 5 * time.Minute
					if i < 8 {
						bound = min(bound, 2*time.Second<<i)
					}
					if gap := d.at.Sub(got[i].at); gap < time.Second || gap > bound {
						t.Errorf("attempt %d came %s after the one before, want 1 s to %s", i+2, gap, bound)
					}
				}
				if n := len(got); n < 24*60/5 || n > 1000 {
					t.Errorf("%d attempts in a day", n)
				}
				if last := got[len(got)-1].at; last.Sub(began) >= 24*time.Hour {
					t.Errorf("tried at the age of %s", last.Sub(began))
				}
				if n := len(s.receiver.deliveries("s-ended")); n > 0 {
					t.Errorf("%d attempts for the event behind it", n)
				}
			})
		})
	}
}

// Events that the receiver always refuses delay other events only a little.
func TestPoison(t *testing.T) {
	for name, c := range map[string]struct {
		bad  func(i int) bool
		most time.Duration // longest acceptable time for a good event
	}{
		"one in a hundred": {func(i int) bool { return i%100 == 0 }, 3 * time.Second},
		"every other":      {func(i int) bool { return i%2 == 0 }, 3 * time.Minute},
		"in bursts":        {func(i int) bool { return i%200 < 100 }, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEventStage(t, nil).run()
				began := time.Now()
				var mu sync.Mutex
				var worst time.Duration
				s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
					var i int
					if _, err := fmt.Sscanf(d.session, "s%d", &i); err != nil {
						t.Error(err)
					}
					if c.bad(i) {
						return after(20*time.Millisecond, status[delivery](500))(ctx, d)
					}
					mu.Lock()
					defer mu.Unlock()
					worst = max(worst, time.Since(began.Add(time.Duration(i)*time.Second)))
					return reply{status: 200}, nil
				}
				good := 0
				for i := range 1000 {
					if !c.bad(i) {
						good++
					}
					s.send(fmt.Sprintf("s%d-joined", i))
					wait(time.Second)
				}
				wait(c.most)
				if delivered, dropped := s.outcomes(); len(delivered) != good || len(dropped) != 0 {
					t.Errorf("%d delivered of %d, %d dropped", len(delivered), good, len(dropped))
				}
				if worst > c.most {
					t.Errorf("one took %s", worst)
				}
			})
		})
	}
}

// A failing endpoint receives only probes, however many events wait. After it recovers, it receives all
// events.
func TestEndpointDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil).run()
		up := time.Now().Add(time.Hour)
		s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
			if time.Now().Before(up) {
				return down(ctx, d)
			}
			return reply{status: 200}, nil
		}
		for i := range 300 {
			s.send(fmt.Sprintf("s%d-joined", i))
			wait(10 * time.Second)
		}
		wait(time.Until(up))
		got := s.receiver.deliveries("")
		if len(got) > 100 {
			t.Errorf("%d attempts in an hour", len(got))
		}
		for i, d := range got[1:] {
			if gap := d.at.Sub(got[i].at); gap > 5*time.Minute {
				t.Errorf("no attempt for %s", gap)
			}
		}
		if delivered, dropped := s.outcomes(); len(delivered)+len(dropped) > 0 {
			t.Errorf("settled: %v %v", delivered, dropped)
		}
		// In the worst case, the event after the probe waits for one backoff of its own.
		wait(10 * time.Minute)
		if delivered, _ := s.outcomes(); len(delivered) != 300 {
			t.Errorf("%d delivered of 300", len(delivered))
		}
		if n := s.log.lines("endpoint is failing"); n != 1 {
			t.Errorf("%d lines about the failure: %s", n, s.log)
		}
		if n := s.log.lines("endpoint answers again"); n != 1 {
			t.Errorf("%d lines about the end of it: %s", n, s.log)
		}
	})
}

func TestEventsRetryAfter(t *testing.T) {
	for header, want := range map[string]struct{ least, most time.Duration }{
		"30":    {30 * time.Second, 30 * time.Second},
		"0":     {time.Second, 2 * time.Second},
		"86400": {5 * time.Minute, 5 * time.Minute},
		"soon":  {time.Second, 2 * time.Second},
	} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newEventStage(t, nil).run()
				s.receiver.answer = func(_ context.Context, d delivery) (reply, error) {
					if d.id == "a-joined" && d.try == 1 {
						return reply{status: 429, retryAfter: header}, nil
					}
					return reply{status: 200}, nil
				}
				s.send("a-joined")
				wait(0)
				s.send("b-joined") // sent while the endpoint's Retry-After is in force
				wait(10 * time.Minute)
				got := append(s.receiver.deliveries("a-joined"), s.receiver.deliveries("b-joined")...)
				if len(got) != 3 {
					t.Fatalf("attempts: %v", ids(got))
				}
				for _, d := range got[1:] {
					if header == "soon" && d.id == "b-joined" {
						continue // this answer has no valid Retry-After
					}
					if gap := d.at.Sub(got[0].at); gap < want.least || gap > want.most {
						t.Errorf("%s came after %s, want %s to %s", d.id, gap, want.least, want.most)
					}
				}
			})
		})
	}
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, nil).run()
		s.receiver.answer = func(_ context.Context, d delivery) (reply, error) {
			if d.id == "s-joined" {
				return reply{status: 410}, nil
			}
			return reply{status: 200}, nil
		}
		s.send("s-joined", "s-ended")
		wait(time.Second)
		delivered, dropped := s.outcomes()
		if !slices.Equal(delivered, []string{"s-ended"}) || !slices.Equal(dropped, []string{"s-joined"}) {
			t.Errorf("delivered %v, dropped %v", delivered, dropped)
		}
		if got := ids(s.receiver.deliveries("")); !slices.Equal(got, []string{"s-joined", "s-ended"}) {
			t.Errorf("attempts: %v", got)
		}
	})
}

// If the queue is full, Send drops the oldest event that has no attempt in progress.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.maxEvents, e.endpoint.limits.atOnce = 10, 2 })
		up := time.Now().Add(5 * time.Second)
		s.receiver.answer = func(ctx context.Context, d delivery) (reply, error) {
			if time.Now().Before(up) {
				return hang(ctx, d)
			}
			return reply{status: 200}, nil
		}
		for i := range 12 {
			s.send(fmt.Sprintf("s%02d-joined", i))
		}
		s.run()
		wait(0) // attempts for 2 and 3 are in progress
		s.send("s02-ended")
		for i := range 7 {
			s.send(fmt.Sprintf("t%d-joined", i))
		}
		wait(0)
		want := []string{"s00-joined", "s01-joined", "s04-joined", "s05-joined", "s06-joined", "s07-joined", "s08-joined", "s09-joined", "s10-joined", "s11-joined"}
		if _, dropped := s.outcomes(); !slices.Equal(dropped, want) {
			t.Errorf("dropped: %v", dropped)
		}
		s.send("t7-joined")
		wait(0)
		if _, dropped := s.outcomes(); !slices.Contains(dropped, "s02-ended") {
			t.Errorf("what waits behind a delivery was not dropped: %v", dropped)
		}
		counts(t, s.registry, `
# HELP refresher_events_queued Events that are neither delivered nor dropped yet.
# TYPE refresher_events_queued gauge
refresher_events_queued 10
`, "refresher_events_queued")
		if n := s.log.lines("event dropped"); n != 1 {
			t.Errorf("%d lines: %s", n, s.log)
		}
		wait(time.Hour)
		if delivered, dropped := s.outcomes(); len(delivered) != 10 || len(dropped) != 11 {
			t.Errorf("delivered %v, dropped %v", delivered, dropped)
		}
	})
}

// If every event of a full queue has an attempt in progress, Send drops the new event.
func TestTinyQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.maxEvents = 1 }).run()
		s.receiver.answer = after(time.Second, status[delivery](200))
		s.send("a-joined")
		wait(0)
		s.send("b-joined")
		wait(2 * time.Second)
		if delivered, dropped := s.outcomes(); !slices.Equal(delivered, []string{"a-joined"}) || !slices.Equal(dropped, []string{"b-joined"}) {
			t.Errorf("delivered %v, dropped %v", delivered, dropped)
		}
	})
}

// Events are dropped at the maximum age, even if no other event arrives.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.maxAge = time.Minute }).run()
		s.receiver.answer = func(context.Context, delivery) (reply, error) { return reply{status: 503, retryAfter: "3600"}, nil }
		s.send("a-joined", "a-ended")
		wait(30 * time.Second)
		s.send("b-joined")
		wait(30 * time.Second)
		if _, dropped := s.outcomes(); !slices.Equal(dropped, []string{"a-ended", "a-joined"}) {
			t.Errorf("dropped after 60 s: %v", dropped)
		}
		wait(30 * time.Second)
		if _, dropped := s.outcomes(); len(dropped) != 3 {
			t.Errorf("dropped after 90 s: %v", dropped)
		}
	})
}

func TestSettledMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newEventStage(t, func(e *Events) { e.maxEvents = 2 }).run()
		s.receiver.answer = after(time.Second, status[delivery](200))
		var caller sync.Mutex
		count := 0
		var settled func(bool)
		settled = func(bool) {
			caller.Lock()
			defer caller.Unlock()
			if count++; count < 20 {
				s.events.Send(event(fmt.Sprintf("s%d-joined", count)), settled)
			}
		}
		caller.Lock()
		for i := range 5 { // drops three
			s.events.Send(event(fmt.Sprintf("first%d-joined", i)), settled)
		}
		caller.Unlock()
		wait(time.Minute)
		caller.Lock()
		defer caller.Unlock()
		if count != 24 { // the first five, and one more for each of the first 19 settled events
			t.Errorf("settled %d times", count)
		}
	})
}
