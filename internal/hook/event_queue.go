package hook

import (
	"cmp"
	"slices"
	"time"

	"refresher/internal/session"
)

// pendingEvent is one event that is not settled yet. client.mu guards failures and what
// follows it.
type pendingEvent struct {
	id, session string
	kind        session.EventType
	body        []byte
	settled     func(delivered bool)
	sent        time.Time // when Send was called

	failures int
	number   uint64    // in the order of Send
	busy     bool      // an attempt is under way
	due      time.Time // when it may be tried again; counts in eventQueue.delayed
}

// eventQueue holds the events that are not settled, in one line per session, of which only
// the head may be tried. A head that is not busy stands in ready, or in delayed until its
// wait is over; after hasten there are no more waits, and one that failed stands in neither.
type eventQueue struct {
	all     order[pendingEvent]        // by age
	lines   map[string][]*pendingEvent // by session, the oldest first; none is empty
	ready   order[pendingEvent]        // by failures, then age
	delayed order[pendingEvent]        // by due
	pushed  uint64                     // events so far
	hasty   bool                       // see hasten
}

func newEventQueue() eventQueue {
	byAge := func(a, b *pendingEvent) int { return cmp.Compare(a.number, b.number) }
	return eventQueue{
		all:   order[pendingEvent]{compare: byAge},
		lines: make(map[string][]*pendingEvent),
		ready: order[pendingEvent]{compare: func(a, b *pendingEvent) int {
			return cmp.Or(cmp.Compare(a.failures, b.failures), byAge(a, b))
		}},
		delayed: order[pendingEvent]{compare: func(a, b *pendingEvent) int { return cmp.Or(a.due.Compare(b.due), byAge(a, b)) }},
	}
}

// len returns the number of events, busy ones included.
func (q *eventQueue) len() int { return q.all.len() }

func (q *eventQueue) push(e *pendingEvent) {
	q.pushed++
	e.number = q.pushed
	q.all.add(e)
	q.lines[e.session] = append(q.lines[e.session], e)
	if q.isHead(e) {
		q.ready.add(e)
	}
}

func (q *eventQueue) isHead(e *pendingEvent) bool { return q.lines[e.session][0] == e }

// take returns the event to try next, which stays in the queue until remove or retry. If
// there is none, due is when there will be, or zero if that takes a change. For a probe it
// is, if there is one, a young event that has not failed yet: the receiver is most likely to
// take that, while those in front may all be ones that it does not like.
func (q *eventQueue) take(now time.Time, probe bool) (e *pendingEvent, due time.Time) {
	for e = q.delayed.first(); e != nil && (q.hasty || !e.due.After(now)); e = q.delayed.first() {
		q.delayed.remove(e)
		q.ready.add(e)
	}
	if e != nil {
		due = e.due
	}
	if e = q.ready.first(); e == nil {
		return nil, due
	}
	if probe {
		e = q.youngest(e)
	}
	q.ready.remove(e)
	e.busy = true
	return e, time.Time{}
}

// youngest returns the youngest event that is ready and has not failed, or other. It looks
// at a hundred events.
func (q *eventQueue) youngest(other *pendingEvent) *pendingEvent {
	for _, e := range slices.Backward(q.all.items[max(0, q.len()-100):]) {
		if q.isHead(e) && !e.busy && e.failures == 0 {
			return e
		}
	}
	return other
}

// retry puts back e, which was taken, to be tried again at due.
func (q *eventQueue) retry(e *pendingEvent, due time.Time) {
	e.busy, e.due = false, due
	if !q.hasty {
		q.delayed.add(e)
	}
}

// remove takes e out, wherever it stands, and moves up its session's line.
func (q *eventQueue) remove(e *pendingEvent) {
	q.all.remove(e)
	q.ready.remove(e)
	q.delayed.remove(e)
	head, line := q.isHead(e), q.lines[e.session]
	if !head { // dropped from behind a busy head
		line[1] = line[0]
	}
	line[0] = nil
	if line = line[1:]; len(line) == 0 {
		delete(q.lines, e.session)
		return
	}
	q.lines[e.session] = line
	if head {
		q.ready.add(line[0])
	}
}

// oldest returns the oldest event that is not busy, or nil. It is the head of its line, or
// stands right behind a busy one.
func (q *eventQueue) oldest() *pendingEvent {
	for _, e := range q.all.items {
		if !e.busy {
			return e
		}
	}
	return nil
}

// hasten ends all waits, so that everything can be tried at once, and once only: what fails
// from now on is not tried again.
func (q *eventQueue) hasten() { q.hasty = true }
