package scheduler

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
)

// TestQueueAgainstAList checks that the queue returns the same entries as a simple list, in which
// every operation looks at all entries.
func TestQueueAgainstAList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type times struct{ due, expires time.Duration }
		var q queue
		list := make(map[*entry]times)
		entries := make([]*entry, 6)
		for i := range entries {
			entries[i] = &entry{claims: session.ResumeClaims{Session: fmt.Sprint(i)}}
		}
		pick := rapid.SampledFrom(entries)
		instant := rapid.Int64Range(0, 10)
		var now time.Duration
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				e := pick.Draw(t, "entry")
				at := times{time.Duration(instant.Draw(t, "due")), time.Duration(instant.Draw(t, "expires"))}
				q.Set(e, at.due, at.expires)
				list[e] = at
			},
			"remove": func(t *rapid.T) {
				e := pick.Draw(t, "entry")
				q.Remove(e)
				delete(list, e)
			},
			"next": func(t *rapid.T) {
				now += time.Duration(rapid.Int64Range(0, 5).Draw(t, "later"))
				due, next := q.Peek(now)
				got := q.Next(now)
				ripe, first := 0, never
				for e, at := range list {
					if at.due <= now {
						ripe++
					} else {
						first = min(first, at.due)
					}
					if got != nil && at.due <= now && at.expires < list[got].expires {
						t.Fatalf("%s expires at %d, and %s before it at %d", got.claims.Session, list[got].expires, e.claims.Session, at.expires)
					}
				}
				switch {
				case due != ripe || next != first || got == nil && ripe > 0:
					t.Fatalf("%d are due, next at %d; want %d, %d, now %d", due, next, ripe, first, now)
				case got != nil && list[got].due > now:
					t.Fatalf("%s came at %d, due at %d", got.claims.Session, now, list[got].due)
				}
				delete(list, got)
			},
			"": func(t *rapid.T) {
				if q.Len() != len(list) {
					t.Fatalf("%d entries, want %d", q.Len(), len(list))
				}
				q.Each(func(e *entry, due, expires time.Duration) {
					if at := (times{due, expires}); list[e] != at {
						t.Fatalf("%s at %v, want %v", e.claims.Session, at, list[e])
					}
				})
				for _, e := range entries {
					if _, in := list[e]; in != e.slot.queued() {
						t.Fatalf("%s: queued is %v, want %v", e.claims.Session, e.slot.queued(), in)
					}
				}
			},
		})
	})
}
