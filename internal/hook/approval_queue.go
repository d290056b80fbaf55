package hook

import (
	"cmp"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	batchSize    = 100                  // largest number of approval requests in one batch
	renewalShare = batchSize / 4        // minimum number of places in a batch for waiting renewals
	gatherFor    = 5 * time.Millisecond // the first request of a batch waits this long for further requests
)

// pendingApproval is an approval request that waits for its answer. Several calls of Request may
// share it.
type pendingApproval struct {
	text   string // JSON of the request, from encodeRequest
	shared bool   // whether a later equal request may share this request's answer
	person bool   // true if a client waits for the answer (join or resume); false for a scheduled renewal
	asked  time.Time
	span   trace.Span // trace span of the first caller; records nothing if the caller is not traced

	waiters int    // guarded by client.mu; number of calls of Request that wait for this answer
	number  uint64 // guarded by client.mu; serial number, in the order of calls

	// The goroutine that sends the batch sets decision and then closes done.
	id string
	decision
	done chan struct{}
}

// settle makes the waiting calls of Request return. If err is nil, each request keeps the decision that it already has.
// If err is not nil, it replaces the decision of each request.
func settle(approvals []*pendingApproval, err error) {
	for _, q := range approvals {
		if err != nil {
			q.decision = decision{err: err}
		}
		close(q.done)
	}
}

// approvalQueue holds the approval requests that wait to be sent.
type approvalQueue struct {
	people, renewals order[pendingApproval]      // each sorted by age
	shared           map[string]*pendingApproval // requests that may be shared, by text
	pushed           uint64                      // number of requests ever added
}

func newApprovalQueue() approvalQueue {
	byAge := order[pendingApproval]{compare: func(a, b *pendingApproval) int { return cmp.Compare(a.number, b.number) }}
	return approvalQueue{people: byAge, renewals: byAge, shared: make(map[string]*pendingApproval)}
}

func (q *approvalQueue) len() int { return q.people.len() + q.renewals.len() }

func (q *approvalQueue) kind(p *pendingApproval) *order[pendingApproval] {
	if p.person {
		return &q.people
	}
	return &q.renewals
}

func (q *approvalQueue) push(p *pendingApproval) {
	q.pushed++
	p.number = q.pushed
	q.kind(p).add(p)
	if p.shared {
		q.shared[p.text] = p
	}
}

func (q *approvalQueue) remove(p *pendingApproval) {
	if q.kind(p).remove(p) && p.shared {
		delete(q.shared, p.text)
	}
}

// oldest returns the time of the oldest request, or zero if the queue is empty.
func (q *approvalQueue) oldest() (asked time.Time) {
	for _, p := range []*pendingApproval{q.people.first(), q.renewals.first()} {
		if p != nil {
			asked = sooner(asked, p.asked)
		}
	}
	return asked
}

// take removes the requests of the next batch and returns them. Joins and resumes come first, but renewals
// keep renewalShare places; within each kind, older requests come first.
func (q *approvalQueue) take() (batch []*pendingApproval) {
	renewals := min(q.renewals.len(), max(renewalShare, batchSize-q.people.len()))
	people := min(q.people.len(), batchSize-renewals)
	batch = append(batch, q.people.items[:people]...)
	batch = append(batch, q.renewals.items[:renewals]...)
	for _, p := range batch {
		q.remove(p)
	}
	return batch
}

func (q *approvalQueue) takeAll() (all []*pendingApproval) {
	for q.len() > 0 {
		all = append(all, q.take()...)
	}
	return all
}
