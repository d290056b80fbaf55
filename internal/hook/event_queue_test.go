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
		busy := func() (taken []*pendingEvent) {
			for _, e := range all {
				if e.busy {
					taken = append(taken, e)
				}
			}
			return taken
		}
		heads := func() (free []*pendingEvent) {
			seen := make(map[string]bool)
			for _, e := range all {
				if !seen[e.session] && !e.busy {
					free = append(free, e)
				}
				seen[e.session] = true
			}
			return free
		}
		out := func(e *pendingEvent) {
			q.remove(e)
			all = slices.DeleteFunc(all, func(x *pendingEvent) bool { return x == e })
		}
		spent := make(map[*pendingEvent]bool) // events that failed after hasten was called
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				e := &pendingEvent{session: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "session"), sent: now}
				q.push(e)
				all = append(all, e)
			},
			"take": func(t *rapid.T) {
				var want *pendingEvent
				for _, e := range heads() {
					if e.due.After(now) && !hasty || spent[e] {
						continue
					}
					if want == nil || e.failures < want.failures {
						want = e
					}
				}
				if got, _ := q.take(now, false); got != want {
					t.Fatalf("took %+v, want %+v", got, want)
				}
			},
			"probe": func(t *rapid.T) {
				var want *pendingEvent
				for _, e := range heads() {
					if e.due.After(now) && !hasty || spent[e] {
						continue
					}
					if want == nil || e.failures < want.failures || e.failures == 0 {
						want = e
					}
				}
				if got, _ := q.take(now, true); got != want {
					t.Fatalf("took %+v, want %+v", got, want)
				}
			},
			"retry": func(t *rapid.T) {
				taken := busy()
				if len(taken) == 0 {
					return
				}
				e := rapid.SampledFrom(taken).Draw(t, "pendingEvent")
				e.failures++
				q.retry(e, now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "wait"))*time.Second))
				spent[e] = hasty
			},
			"done": func(t *rapid.T) {
				if taken := busy(); len(taken) > 0 {
					out(rapid.SampledFrom(taken).Draw(t, "pendingEvent"))
				}
			},
			"drop": func(t *rapid.T) {
				i := slices.IndexFunc(all, func(e *pendingEvent) bool { return !e.busy })
				got := q.oldest()
				if (i < 0) != (got == nil) || i >= 0 && got != all[i] {
					t.Fatalf("oldest is %+v, want number %d of %d", got, i, len(all))
				}
				if got != nil {
					out(got)
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
				if q.len() != len(all) {
					t.Fatalf("%d entries, want %d", q.len(), len(all))
				}
				free := slices.DeleteFunc(heads(), func(e *pendingEvent) bool { return spent[e] })
				if n := q.ready.len() + q.delayed.len(); n != len(free) {
					t.Fatalf("%d entries can be taken some time, want %d", n, len(free))
				}
				if first := q.delayed.first(); q.ready.first() == nil && (first == nil) != (len(free) == 0) {
					t.Fatalf("%v is next with %d to come", first, len(free))
				}
				lines := 0
				for _, line := range q.lines {
					lines += len(line)
				}
				if lines != len(all) {
					t.Fatalf("%d entries in lines, want %d", lines, len(all))
				}
			},
		})
	})
}
