package hook

import (
	"cmp"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	batchSize    = 100                  // questions in a request at most
	renewalShare = batchSize / 4        // renewals among them at least, if so many wait
	gatherFor    = 5 * time.Millisecond // how long a question waits for others to travel with
)

// pendingQuestion is one question, of one or more callers.
type pendingQuestion struct {
	text   string // see encodeQuestion
	shared bool   // others that ask the same may join it
	person bool   // somebody waits for the answer
	asked  time.Time
	span   trace.Span // what the first to ask it traces; may record nothing

	waiters int    // guarded by client.mu
	number  uint64 // guarded by client.mu; in the order of questions

	// The request's goroutine sets id, and decision before it closes done.
	id string
	decision
	done chan struct{}
}

// settle answers questions: with err, or if that is nil with the decision on each.
func settle(questions []*pendingQuestion, err error) {
	for _, q := range questions {
		if err != nil {
			q.decision = decision{err: err}
		}
		close(q.done)
	}
}

// questionQueue holds the questions that wait for their turn.
type questionQueue struct {
	people, renewals order[pendingQuestion]      // by age
	shared           map[string]*pendingQuestion // by text
	pushed           uint64                      // questions so far
}

func newQuestionQueue() questionQueue {
	byAge := order[pendingQuestion]{compare: func(a, b *pendingQuestion) int { return cmp.Compare(a.number, b.number) }}
	return questionQueue{people: byAge, renewals: byAge, shared: make(map[string]*pendingQuestion)}
}

func (q *questionQueue) len() int { return q.people.len() + q.renewals.len() }

func (q *questionQueue) kind(p *pendingQuestion) *order[pendingQuestion] {
	if p.person {
		return &q.people
	}
	return &q.renewals
}

func (q *questionQueue) push(p *pendingQuestion) {
	q.pushed++
	p.number = q.pushed
	q.kind(p).add(p)
	if p.shared {
		q.shared[p.text] = p
	}
}

// remove takes p out, if it is still there.
func (q *questionQueue) remove(p *pendingQuestion) {
	if q.kind(p).remove(p) && p.shared {
		delete(q.shared, p.text)
	}
}

// oldest returns when the first of those who wait began to; zero if there is none.
func (q *questionQueue) oldest() (asked time.Time) {
	for _, p := range []*pendingQuestion{q.people.first(), q.renewals.first()} {
		if p != nil {
			asked = sooner(asked, p.asked)
		}
	}
	return asked
}

// take takes out what goes into the next request: people first, but for the renewals'
// share, and of each kind the oldest.
func (q *questionQueue) take() (batch []*pendingQuestion) {
	renewals := min(q.renewals.len(), max(renewalShare, batchSize-q.people.len()))
	people := min(q.people.len(), batchSize-renewals)
	batch = append(batch, q.people.items[:people]...)
	batch = append(batch, q.renewals.items[:renewals]...)
	for _, p := range batch {
		q.remove(p)
	}
	return batch
}

// takeAll takes out everything.
func (q *questionQueue) takeAll() (all []*pendingQuestion) {
	for q.len() > 0 {
		all = append(all, q.take()...)
	}
	return all
}
