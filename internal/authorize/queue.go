package authorize

import (
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

// entry is one question, of one or more callers.
type entry struct {
	text   string // the question, see encode
	shared bool   // others that ask the same may join it
	person bool   // somebody waits for the answer
	asked  time.Time
	span   trace.Span // what the first to ask it traces; may record nothing

	waiters    int    // guarded by Asker.mu
	list       *list  // guarded by Asker.mu; where it waits, nil once it does not
	prev, next *entry // guarded by Asker.mu

	// done is closed when answer and err are final; they are written before.
	done   chan struct{}
	answer Answer
	err    error
}

// settle tells those who wait what came of it.
func (e *entry) settle(a Answer, err error) {
	e.answer, e.err = a, err
	close(e.done)
}

// queue holds the questions that wait for their turn. It is not safe for
// concurrent use.
type queue struct {
	people   list
	renewals list
	shared   map[string]*entry // by text
}

func newQueue() queue { return queue{shared: make(map[string]*entry)} }

func (q *queue) len() int { return q.people.n + q.renewals.n }

// push adds e as the last of its kind.
func (q *queue) push(e *entry) {
	if e.shared {
		q.shared[e.text] = e
	}
	if e.person {
		q.people.push(e)
	} else {
		q.renewals.push(e)
	}
}

// remove takes e out, wherever it stands, if it is still there.
func (q *queue) remove(e *entry) {
	if e.list == nil {
		return
	}
	e.list.remove(e)
	if e.shared {
		delete(q.shared, e.text)
	}
}

// oldest is when the first of those who wait began to; zero if there is none.
func (q *queue) oldest() time.Time {
	p, r := q.people.first, q.renewals.first
	switch {
	case p == nil && r == nil:
		return time.Time{}
	case p == nil, r != nil && r.asked.Before(p.asked):
		return r.asked
	default:
		return p.asked
	}
}

// take takes out what goes into the next request: people first, but for the
// renewals' share, and of each kind the oldest.
func (q *queue) take() []*entry {
	renewals := min(q.renewals.n, max(renewalShare, batchSize-q.people.n))
	people := min(q.people.n, batchSize-renewals)
	batch := make([]*entry, 0, people+renewals)
	for range people {
		batch = append(batch, q.people.first)
		q.remove(q.people.first)
	}
	for range renewals {
		batch = append(batch, q.renewals.first)
		q.remove(q.renewals.first)
	}
	return batch
}

// takeAll takes out everything.
func (q *queue) takeAll() []*entry {
	var all []*entry
	for q.len() > 0 {
		all = append(all, q.take()...)
	}
	return all
}

// list is linked, so that whoever gives up leaves it at once: what waits for
// long is often what nobody waits for any more.
type list struct {
	first, last *entry
	n           int
}

func (l *list) push(e *entry) {
	e.list, e.prev = l, l.last
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.n++
}

func (l *list) remove(e *entry) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.list, e.prev, e.next = nil, nil, nil
	l.n--
}
