package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"refresher/internal/session"
)

// Sweep renews node's lease, or ends it, and claims overdue sessions for node. The argument
// `do` selects which of these it does.
func (m *Memory) Sweep(_ context.Context, node string, do Doing) ([Shards]Swept, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var swept [Shards]Swept
	now := m.now()
	if do == Leave {
		m.renew(node, now)
	} else {
		m.renew(node, now.Add(Lease))
	}
	for i := range m.shards {
		s := &m.shards[i]
		swept[i].Generation = s.generation
		s.expireTombstones(now)
		if do == Claim {
			swept[i].Overdue = m.claim(s, node, now)
		}
	}
	return swept, nil
}

// claim makes `node` the owner of the shard's overdue sessions whose owner's lease has
// expired. It returns these sessions, and the overdue sessions that `node` already owns. It
// scans the sessions only if one of them may be overdue, so that a sweep of 100,000 sessions
// without overdue ones takes 1 µs instead of 9 ms.
func (m *Memory) claim(s *memoryShard, node string, now time.Time) []Record {
	late := session.MilliOf(now.Add(-Slack))
	if s.earliest > late {
		return nil
	}
	s.earliest = math.MaxInt64
	var overdue []string
	for id, r := range s.open {
		if r.Due <= late {
			overdue = append(overdue, id)
		}
		s.earliest = min(s.earliest, r.Due)
	}
	slices.SortFunc(overdue, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.open[a].Due, s.open[b].Due), cmp.Compare(a, b))
	})
	var claimed []Record
	for _, id := range overdue[:min(len(overdue), SweepLimit)] {
		r := s.open[id]
		if mine := r.Node == node; mine || !m.nodes[r.Node].until.After(now) {
			if !mine && r.State == session.Attached {
				r.State = session.Detached
			}
			m.notifyLoser(r.Node, node, id)
			r.Node = node
			claimed = append(claimed, r.clone())
		}
		r.Due = Later(session.MilliOf(now)) // if the owner does not save the session before this time, a later sweep finds the session overdue again
		s.put(r)
	}
	return claimed
}
