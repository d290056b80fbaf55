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
		h := newHarness(t).run()
		h.answer = func(context.Context, *request) reply {
			return reply{status: 204, body: strings.Repeat("x", 1<<20)} // the answer's body is ignored
		}
		h.send("s-joined")
		synctest.Wait()
		got := h.got[0]
		got.header.Del("webhook-signature") // harness.RoundTrip has verified this signature, so it is not compared here
		want := http.Header{
			"Authorization": {"Basic c2NvdHQ6bGlvbg=="}, "Content-Type": {"application/json"}, "User-Agent": {"refresher"},
			"Webhook-Id": {"s-joined"}, "Webhook-Timestamp": {fmt.Sprint(got.at.Unix())},
		}
		if diff := cmp.Diff(want, got.header); diff != "" {
			t.Error(diff)
		}
		if delivered, _ := h.outcomes(); !slices.Equal(delivered, []string{"s-joined"}) || len(h.got) != 1 {
			t.Errorf("delivered %v by %v", delivered, h.attempts())
		}
		if h.metric("refresher_events_total", "delivered", "session.joined") != 1 || h.metric("refresher_events_attempts_total", "ok") != 1 ||
			h.metric("refresher_events_delivery_seconds") != 1 || h.metric("refresher_events_queued") != 0 {
			t.Error("not counted")
		}
		if took := h.stop(); took != 0 || h.log.Len() > 0 {
			t.Errorf("Run went on for %s; logged: %s", took, &h.log)
		}
	})
}

// The events of a session arrive one at a time in the order of Send, and each is settled once, whatever the
// back end answers.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.answer = func(ctx context.Context, r *request) reply {
			switch rand.N(10) {
			case 0:
				return reply{status: 500}
			case 1:
				return down(ctx, r)
			case 2:
				return after(rand.N(12*time.Second), accept)(ctx, r)
			default:
				return after(rand.N(50*time.Millisecond), accept)(ctx, r)
			}
		}
		for i := range 40 {
			h.send(fmt.Sprintf("s%d-joined", i))
		}
		h.run()
		for i := range 40 {
			wait(rand.N(time.Second))
			name := fmt.Sprintf("s%d", i)
			h.send(name+"-unreachable-2", name+"-expired-3", name+"-ended")
		}
		wait(2 * time.Hour)
		if delivered, dropped := h.outcomes(); len(delivered) != 160 || len(dropped) > 0 {
			t.Errorf("%d delivered of 160, dropped: %v", len(delivered), dropped)
		}
		for i := range 40 {
			name := fmt.Sprintf("s%d", i)
			ids := slices.DeleteFunc(h.attempts(), func(id string) bool { return !strings.HasPrefix(id, name+"-") })
			if diff := cmp.Diff([]string{name + "-joined", name + "-unreachable-2", name + "-expired-3", name + "-ended"}, slices.Compact(ids)); diff != "" {
				t.Error(diff)
			}
		}
		if h.most != 4 {
			t.Errorf("%d deliveries at once, want 4", h.most)
		}
	})
}

// The waits between attempts to deliver an event grow up to the limit, until the event is dropped.
func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context, *request) reply
		took   time.Duration
	}{"500": {status(500), 0}, "302": {status(302), 0}, "no answer": {hang, 10 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t).run()
			h.answer = c.answer
			h.send("s-joined", "s-ended")
			wait(24*time.Hour - time.Second)
			if delivered, dropped := h.outcomes(); len(delivered)+len(dropped) > 0 {
				t.Errorf("%s: settled early: %v %v", name, delivered, dropped)
			}
			wait(c.took + time.Second)
			if _, dropped := h.outcomes(); len(dropped) != 2 {
				t.Errorf("%s: dropped: %v", name, dropped)
			}
			got := h.deliveries("s-joined")
			for i, r := range got[1:] {
				bound := min(5*time.Minute, 2*time.Second<<min(i, 10))
				if gap := r.at.Sub(got[i].at) - c.took; gap < time.Second || gap > bound {
					t.Errorf("%s: attempt %d came %s after the one before, want 1 s to %s", name, i+2, gap, bound)
				}
			}
			if n := len(got); n < 24*60/6 || n > 1000 || n != len(h.got) {
				t.Errorf("%s: %d attempts in a day, %d with those for the event behind it", name, n, len(h.got))
			}
			if n := h.metric("refresher_events_attempts_total", "failed"); (n > 0) != (name == "no answer") {
				t.Errorf("%s: %v without an answer", name, n)
			}
		})
	}
}

// Events that the back end always refuses delay other events only a little.
func TestPoison(t *testing.T) {
	for name, c := range map[string]struct {
		bad  func(i int) bool
		most time.Duration // longest acceptable time for a good event
	}{
		"one in a hundred": {func(i int) bool { return i%100 == 0 }, 3 * time.Second},
		"every other":      {func(i int) bool { return i%2 == 0 }, 3 * time.Minute},
		"in bursts":        {func(i int) bool { return i%200 < 100 }, 5 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t).run()
			h.answer = func(ctx context.Context, r *request) reply {
				if strings.HasPrefix(r.ID, "bad") {
					return after(20*time.Millisecond, status(500))(ctx, r)
				}
				return accept(ctx, r)
			}
			sent := make(map[string]time.Time)
			for i := range 1000 {
				id := fmt.Sprintf("good%d-joined", i)
				if c.bad(i) {
					id = fmt.Sprintf("bad%d-joined", i)
				} else {
					sent[id] = time.Now()
				}
				h.send(id)
				wait(time.Second)
			}
			wait(c.most)
			if delivered, dropped := h.outcomes(); len(delivered) != len(sent) || len(dropped) != 0 {
				t.Errorf("%s: %d delivered of %d, %d dropped", name, len(delivered), len(sent), len(dropped))
			}
			for _, r := range h.got {
				if at, good := sent[r.ID]; good && r.at.Sub(at) > c.most {
					t.Errorf("%s: %s took %s", name, r.ID, r.at.Sub(at))
				}
			}
		})
	}
}

// A failing endpoint receives only probes, however many events wait. After it recovers, it receives all
// events.
func TestEndpointDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = func(ctx context.Context, r *request) reply {
			if time.Since(h.began) < time.Hour {
				return down(ctx, r)
			}
			return accept(ctx, r)
		}
		for i := range 300 {
			h.send(fmt.Sprintf("s%d-joined", i))
			wait(12 * time.Second)
		}
		got := h.got
		if len(got) > 100 {
			t.Errorf("%d attempts in an hour", len(got))
		}
		for i, r := range got[1:] {
			if gap := r.at.Sub(got[i].at); gap > 5*time.Minute {
				t.Errorf("no attempt for %s", gap)
			}
		}
		if delivered, dropped := h.outcomes(); len(delivered)+len(dropped) > 0 {
			t.Errorf("settled: %v %v", delivered, dropped)
		}
		wait(10 * time.Minute) // up to 5 min until the next probe, and up to 5 min until an event that has failed before is retried
		if delivered, _ := h.outcomes(); len(delivered) != 300 {
			t.Errorf("%d delivered of 300", len(delivered))
		}
		for _, line := range []string{
			`event not delivered, trying again" endpoint=https://app.test/hooks error="connection refused" type=session.joined session=s0`,
			"the back end is failing", "the back end answers again",
		} {
			if n := h.lines(line); n != 1 {
				t.Errorf("%d lines with %s: %s", n, line, &h.log)
			}
		}
	})
}

func TestWaitAfter(t *testing.T) {
	for status, want := range map[int]time.Duration{
		0: 5 * time.Minute, 429: 5 * time.Minute, 502: 5 * time.Minute, 503: 5 * time.Minute, 504: 5 * time.Minute,
		302: 10 * time.Second, 401: 10 * time.Second, 500: 10 * time.Second,
	} {
		if got := waitAfter(status); got != want {
			t.Errorf("%d: waits up to %s, want up to %s", status, got, want)
		}
	}
}

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = func(ctx context.Context, r *request) reply {
			if r.ID == "s-joined" {
				return reply{status: 410}
			}
			return accept(ctx, r)
		}
		h.send("s-joined", "s-ended")
		synctest.Wait()
		delivered, dropped := h.outcomes()
		if !slices.Equal(delivered, []string{"s-ended"}) || !slices.Equal(dropped, []string{"s-joined"}) || len(h.got) != 2 {
			t.Errorf("delivered %v, dropped %v, attempts %v", delivered, dropped, h.attempts())
		}
		if h.metric("refresher_events_attempts_total", "refused") != 1 || h.metric("refresher_events_total", "dropped", "session.joined") != 1 {
			t.Error("not counted")
		}
	})
}

// If the queue is full, Send drops the oldest event that has no attempt in progress.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.events.maxEvents, h.events.endpoint.limits.atOnce = 4, 2
		h.answer = after(5*time.Second, accept)
		h.send("a-joined", "b-joined", "c-joined", "d-joined", "e-joined")
		h.run()
		synctest.Wait() // attempts for b and c are in progress
		h.send("b-ended", "f-joined")
		synctest.Wait()
		if _, dropped := h.outcomes(); !slices.Equal(dropped, []string{"a-joined", "d-joined", "e-joined"}) {
			t.Errorf("dropped: %v", dropped)
		}
		h.send("g-joined")
		synctest.Wait()
		if _, dropped := h.outcomes(); !slices.Contains(dropped, "b-ended") {
			t.Errorf("an event behind a delivery was not dropped: %v", dropped)
		}
		if n := h.metric("refresher_events_queued"); n != 4 {
			t.Errorf("%v queued", n)
		}
		if n := h.lines("event dropped"); n != 1 {
			t.Errorf("%d lines: %s", n, &h.log)
		}
		wait(time.Minute)
		if delivered, _ := h.outcomes(); !slices.Equal(delivered, []string{"b-joined", "c-joined", "f-joined", "g-joined"}) {
			t.Errorf("delivered %v", delivered)
		}
	})
}

// Events are dropped at the maximum age, even if no other event arrives and the endpoint's Retry-After is in force.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.events.maxAge = time.Minute
		h.run()
		h.answer = func(context.Context, *request) reply { return reply{status: 503, retryAfter: "3600"} }
		h.send("a-joined", "a-ended")
		wait(30 * time.Second)
		h.send("b-joined")
		for _, want := range [][]string{{"a-ended", "a-joined"}, {"a-ended", "a-joined", "b-joined"}} {
			wait(30 * time.Second)
			if _, dropped := h.outcomes(); !slices.Equal(dropped, want) || len(h.got) != 1 {
				t.Errorf("dropped %v, want %v; attempts %v", dropped, want, h.attempts())
			}
		}
	})
}

// The function `settled` may call Send, and may lock a mutex that the caller of Send holds.
func TestSettledMaySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.events.maxEvents = 1
		h.answer = after(time.Second, accept)
		var caller sync.Mutex
		count := 0
		settled := func(bool) {
			caller.Lock()
			defer caller.Unlock()
			count++
			h.events.Send(event("b-joined"), func(bool) {})
		}
		h.events.Send(event("a-joined"), settled)
		synctest.Wait()
		caller.Lock()
		h.events.Send(event("a-ended"), settled) // is dropped
		caller.Unlock()
		wait(time.Minute)
		if count != 2 {
			t.Errorf("settled %d times", count)
		}
	})
}

// When its context is done, Run delivers as many events as it can in the remaining time. For the other events,
// `settled` is not called.
func TestEventsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.events.endpoint.limits.atOnce = 2
		h.run()
		h.answer = func(ctx context.Context, r *request) reply {
			switch {
			case r.ID == "stuck-joined":
				return hang(ctx, r)
			case r.ID == "late-joined" && r.try == 1, r.ID == "bad-joined":
				return reply{status: 500}
			}
			return after(time.Second, accept)(ctx, r)
		}
		h.send("late-joined", "bad-joined", "bad-ended", "late-ended")
		synctest.Wait() // two events have failed and wait for a retry
		h.send("stuck-joined", "a-joined", "b-joined", "stuck-ended")
		wait(time.Second / 2)
		if took := h.stop(); took != lastChance {
			t.Errorf("Run went on for %s", took)
		}
		delivered, dropped := h.outcomes()
		if want := []string{"a-joined", "b-joined", "late-ended", "late-joined"}; !slices.Equal(delivered, want) || len(dropped) > 0 {
			t.Errorf("delivered %v, dropped %v", delivered, dropped)
		}
		if n := len(h.deliveries("bad-joined")); n != 2 {
			t.Errorf("%d attempts for an event that fails, want one before and one after", n)
		}
		if h.lines("events=4") != 1 {
			t.Errorf("logged: %s", &h.log)
		}
		attempts := len(h.got)
		h.send("after-joined")
		wait(time.Hour)
		if again, _ := h.outcomes(); len(again) != 4 || len(h.got) != attempts {
			t.Error("something happened after Run")
		}
		// Cancelled attempts do not count as failed.
		if h.metric("refresher_events_attempts_total", "failed") != 0 || h.metric("refresher_events_queued") != 0 {
			t.Error("wrongly counted")
		}
	})
}

// After Run's context is done, Run stops its last attempts when the circuit opens. If the circuit is open already, Run
// makes only one attempt.
func TestEventsStopWhileDown(t *testing.T) {
	for before, most := range map[time.Duration]int{
		0:         eventsTrip + 3 + 1, // when the circuit opens, three more attempts may be in progress; then a probe follows
		time.Hour: 1,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.answer = down
			for i := range 1000 {
				h.send(fmt.Sprintf("s%d-joined", i))
			}
			h.run()
			attempts := 0
			if before > 0 {
				wait(before)
				attempts = len(h.got)
			}
			if took := h.stop(); took != 0 {
				t.Errorf("Run went on for %s", took)
			}
			if n := len(h.got) - attempts; n < 1 || n > most {
				t.Errorf("%d attempts, want up to %d", n, most)
			}
			if delivered, dropped := h.outcomes(); len(delivered)+len(dropped) > 0 {
				t.Errorf("settled: %d, %d", len(delivered), len(dropped))
			}
		})
	}
}

// Run calls `settled` for dropped events, even if Run ends at that moment.
func TestEventsStopReportsDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.events.maxEvents = 1
		h.answer = down
		h.send("a-joined", "b-joined", "c-joined")
		h.run()
		h.stop()
		if _, dropped := h.outcomes(); !slices.Equal(dropped, []string{"a-joined", "b-joined"}) {
			t.Errorf("dropped: %v", dropped)
		}
	})
}
