package hook

import (
	"cmp"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	batchSize    = 100                  // most approval requests in a batch
	renewalShare = batchSize / 4        // how many places of a batch waiting renewals get at least
	gatherFor    = 5 * time.Millisecond // how long a request waits for others in its batch
)

// pendingApproval is an approval request that waits for its answer. Several calls of Request may
// share it.
type pendingApproval struct {
	text   string // JSON from encodeRequest
	shared bool   // equal requests may share it
	person bool   // a client waits for the answer: a join or resume, not a scheduled renewal
	asked  time.Time
	span   trace.Span // the span of the first caller; may be a no-op

	waiters int    // guarded by client.mu
	number  uint64 // guarded by client.mu; counts up in the order of requests

	// Set by the goroutine that sends the batch; decision is set before done is closed.
	id string
	decision
	done chan struct{}
}

// settle ends requests: with err, or if err is nil with the decision that each already has.
func settle(approvals []*pendingApproval, err error) {
	for _, q := range approvals {
		if err != nil {
			q.decision = decision{err: err}
		}
		close(q.done)
	}
}

// approvalQueue holds the approval requests that are not sent yet.
type approvalQueue struct {
	people, renewals order[pendingApproval]      // by age
	shared           map[string]*pendingApproval // by text
	pushed           uint64                      // how many requests were added
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

// remove removes p, if it is still in the queue.
func (q *approvalQueue) remove(p *pendingApproval) {
	if q.kind(p).remove(p) && p.shared {
		delete(q.shared, p.text)
	}
}

// oldest returns when the oldest request was made; zero if the queue is empty.
func (q *approvalQueue) oldest() (asked time.Time) {
	for _, p := range []*pendingApproval{q.people.first(), q.renewals.first()} {
		if p != nil {
			asked = sooner(asked, p.asked)
		}
	}
	return asked
}

// take removes and returns the requests of the next batch: those with a person first, except for
// the renewals' share, and of each kind the oldest.
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

// takeAll removes and returns all requests.
func (q *approvalQueue) takeAll() (all []*pendingApproval) {
	for q.len() > 0 {
		all = append(all, q.take()...)
	}
	return all
}
