package hook

import (
	"testing"
	"time"
)

// The oldest requests of each kind are taken first. A quarter of a batch is kept for renewals.
func TestApprovalQueue(t *testing.T) {
	for _, c := range []struct{ people, renewals, wantPeople, wantRenewals int }{
		{0, 0, 0, 0},
		{3, 2, 3, 2},
		{100, 100, 75, 25},
		{200, 10, 90, 10},
		{10, 200, 10, 90},
		{200, 0, 100, 0},
		{0, 200, 0, 100},
	} {
		q := newApprovalQueue()
		start := time.Unix(1_800_000_000, 0)
		var want [2][]*pendingApproval
		for i := range max(c.people, c.renewals) {
			for kind, count := range []int{c.people, c.renewals} {
				p := &pendingApproval{person: kind == 0, asked: start.Add(time.Duration(i) * time.Second)}
				if i < count {
					q.push(p)
					want[kind] = append(want[kind], p)
				}
			}
		}
		if n := c.people + c.renewals; n > 0 && !q.oldest().Equal(start) || n == 0 && !q.oldest().IsZero() {
			t.Errorf("%+v: the oldest is of %s", c, q.oldest())
		}
		batch := q.take()
		if q.people.len() != c.people-c.wantPeople || q.renewals.len() != c.renewals-c.wantRenewals || len(batch) != c.wantPeople+c.wantRenewals {
			t.Errorf("%+v: took %d, left %d people and %d renewals", c, len(batch), q.people.len(), q.renewals.len())
			continue
		}
		for i, p := range append(want[0][:c.wantPeople:c.wantPeople], want[1][:c.wantRenewals]...) {
			if batch[i] != p {
				t.Errorf("%+v: number %d is not the oldest", c, i)
			}
		}
	}
}
