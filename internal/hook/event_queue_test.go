package hook

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEventQueue compares the queue with a plain slice in random runs.
func TestEventQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		q := newEventQueue()
		var all []*pendingEvent // oldest first
		hasty := false
		spent := make(map[*pendingEvent]bool) // events that failed after hasten was called
		// heads returns the events that may be sent now or later: the first of each session, unless that event is busy
		// or is in the map `spent`.
		heads := func() (free []*pendingEvent) {
			seen := make(map[string]bool)
			for _, e := range all {
				if !seen[e.session] && !e.busy && !spent[e] {
					free = append(free, e)
				}
				seen[e.session] = true
			}
			return free
		}
		remove := func(e *pendingEvent) {
			q.remove(e)
			all = slices.DeleteFunc(all, func(x *pendingEvent) bool { return x == e })
		}
		oneBusy := func(t *rapid.T) *pendingEvent {
			busy := slices.DeleteFunc(slices.Clone(all), func(e *pendingEvent) bool { return !e.busy })
			if len(busy) == 0 {
				return nil
			}
			return rapid.SampledFrom(busy).Draw(t, "event")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				e := &pendingEvent{session: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "session"), sent: now}
				q.push(e)
				all = append(all, e)
			},
			"take": func(t *rapid.T) {
				probe := rapid.Bool().Draw(t, "probe")
				var want *pendingEvent
				for _, e := range heads() {
					if e.due.After(now) && !hasty {
						continue
					}
					if want == nil || e.failures < want.failures || probe && e.failures == 0 {
						want = e
					}
				}
				if got, _ := q.take(now, probe); got != want {
					t.Fatalf("took %+v, want %+v", got, want)
				}
			},
			"retry": func(t *rapid.T) {
				if e := oneBusy(t); e != nil {
					e.failures++
					q.retry(e, now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "wait"))*time.Second))
					spent[e] = hasty
				}
			},
			"done": func(t *rapid.T) {
				if e := oneBusy(t); e != nil {
					remove(e)
				}
			},
			"drop": func(t *rapid.T) {
				var want *pendingEvent
				if i := slices.IndexFunc(all, func(e *pendingEvent) bool { return !e.busy }); i >= 0 {
					want = all[i]
				}
				got := q.oldest()
				if got != want {
					t.Fatalf("oldest is %+v, want %+v", got, want)
				}
				if got != nil {
					remove(got)
				}
			},
			"pass": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "seconds")) * time.Second) },
			"hasten": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "luck") == 0 {
					q.hasten()
					hasty = true
				}
			},
			"": func(t *rapid.T) {
				lines := 0
				for _, line := range q.lines {
					lines += len(line)
				}
				if q.len() != len(all) || lines != len(all) {
					t.Fatalf("%d entries, %d in lines, want %d", q.len(), lines, len(all))
				}
				if n := q.ready.len() + q.delayed.len(); n != len(heads()) {
					t.Fatalf("%d entries can be taken some time, want %d", n, len(heads()))
				}
			},
		})
	})
}
