package hook

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestApprovalQueue compares the queue with two plain slices in random runs.
func TestApprovalQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newApprovalQueue()
		var people, renewals []*pendingApproval // oldest first
		now := time.Unix(1_800_000_000, 0)
		drop := func(list []*pendingApproval, i int) []*pendingApproval {
			q.remove(list[i])
			q.remove(list[i]) // is nothing
			return slices.Delete(slices.Clone(list), i, i+1)
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 60}).Draw(t, "how many") {
					now = now.Add(time.Millisecond)
					e := &pendingApproval{person: rapid.Bool().Draw(t, "person"), asked: now}
					q.push(e)
					if e.person {
						people = append(people, e)
					} else {
						renewals = append(renewals, e)
					}
				}
			},
			"remove a person": func(t *rapid.T) {
				if len(people) > 0 {
					people = drop(people, rapid.IntRange(0, len(people)-1).Draw(t, "which"))
				}
			},
			"remove a renewal": func(t *rapid.T) {
				if len(renewals) > 0 {
					renewals = drop(renewals, rapid.IntRange(0, len(renewals)-1).Draw(t, "which"))
				}
			},
			"take": func(t *rapid.T) {
				total := len(people) + len(renewals)
				batch := q.take()
				n := slices.IndexFunc(batch, func(e *pendingApproval) bool { return !e.person })
				if n < 0 {
					n = len(batch)
				}
				if len(batch) != min(total, 100) || n < min(len(people), 75) || len(batch)-n < min(len(renewals), 25) {
					t.Fatalf("took %d people and %d renewals of %d and %d", n, len(batch)-n, len(people), len(renewals))
				}
				if !slices.Equal(batch[:n], people[:n]) || !slices.Equal(batch[n:], renewals[:len(batch)-n]) {
					t.Fatal("not the oldest")
				}
				people, renewals = people[n:], renewals[len(batch)-n:]
			},
			"": func(t *rapid.T) {
				if q.len() != len(people)+len(renewals) {
					t.Fatalf("%d wait, want %d and %d", q.len(), len(people), len(renewals))
				}
				var want time.Time
				for _, list := range [][]*pendingApproval{people, renewals} {
					if len(list) > 0 && (want.IsZero() || list[0].asked.Before(want)) {
						want = list[0].asked
					}
				}
				if got := q.oldest(); !got.Equal(want) {
					t.Fatalf("the oldest is of %s, want %s", got, want)
				}
			},
		})
	})
}
