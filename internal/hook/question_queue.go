package hook

import (
	"container/list"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	// batchSize is how many questions a request holds at most.
	batchSize = 100
	// renewalShare is how many of them are renewals at least, if so many wait.
	renewalShare = batchSize / 4
	// gatherFor is how long a question waits for others to travel with.
	gatherFor = 5 * time.Millisecond
)

// pendingQuestion is one question, of one or more callers.
type pendingQuestion struct {
	text   string // see encodeQuestion
	shared bool   // others that ask the same may join it
	person bool   // somebody waits for the answer
	asked  time.Time
	span   trace.Span // what the first to ask it traces; may record nothing

	waiters int           // guarded by client.mu
	place   *list.Element // guarded by client.mu; in the queue; nil once it is not

	id string // of its request's goroutine, as decision until done is closed

	done chan struct{}
	decision
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

// questionQueue holds the questions that wait for their turn. It is not safe for concurrent
// use.
type questionQueue struct {
	people, renewals *list.List                  // of *pendingQuestion, the oldest first
	shared           map[string]*pendingQuestion // by text
}

func newQuestionQueue() questionQueue {
	return questionQueue{people: list.New(), renewals: list.New(), shared: make(map[string]*pendingQuestion)}
}

func (q *questionQueue) len() int { return q.people.Len() + q.renewals.Len() }

// push adds p as the last of its kind.
func (q *questionQueue) push(p *pendingQuestion) {
	if p.shared {
		q.shared[p.text] = p
	}
	p.place = q.kind(p).PushBack(p)
}

func (q *questionQueue) kind(p *pendingQuestion) *list.List {
	if p.person {
		return q.people
	}
	return q.renewals
}

// remove takes p out, wherever it stands, if it is still there.
func (q *questionQueue) remove(p *pendingQuestion) {
	if p.place == nil {
		return
	}
	q.kind(p).Remove(p.place)
	p.place = nil
	if p.shared {
		delete(q.shared, p.text)
	}
}

// oldest returns when the first of those who wait began to; zero if there is none.
func (q *questionQueue) oldest() (asked time.Time) {
	for _, kind := range []*list.List{q.people, q.renewals} {
		if kind.Len() > 0 {
			asked = sooner(asked, first(kind).asked)
		}
	}
	return asked
}

func first(kind *list.List) *pendingQuestion {
	return kind.Front().Value.(*pendingQuestion) //nolint:errcheck // nothing else is in there
}

// take takes out what goes into the next request: people first, but for the renewals'
// share, and of each kind the oldest.
func (q *questionQueue) take() (batch []*pendingQuestion) {
	renewals := min(q.renewals.Len(), max(renewalShare, batchSize-q.people.Len()))
	for range min(q.people.Len(), batchSize-renewals) {
		batch = append(batch, q.pop(q.people))
	}
	for range renewals {
		batch = append(batch, q.pop(q.renewals))
	}
	return batch
}

func (q *questionQueue) pop(kind *list.List) *pendingQuestion {
	p := first(kind)
	q.remove(p)
	return p
}

// takeAll takes out everything.
func (q *questionQueue) takeAll() (all []*pendingQuestion) {
	for q.len() > 0 {
		all = append(all, q.take()...)
	}
	return all
}
