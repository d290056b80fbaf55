package hook

import (
	"cmp"
	"slices"
	"time"

	"refresher/internal/session"
)

// pendingEvent is an event that is neither delivered nor dropped yet. client.mu guards `failures` and the
// fields after it.
type pendingEvent struct {
	id, session string
	kind        session.EventType
	body        []byte
	settled     func(delivered bool)
	sent        time.Time // time when Send was called

	failures int
	number   uint64    // serial number, in the order of Send
	busy     bool      // an attempt to deliver this event is in progress
	due      time.Time // time when the next attempt may begin, for an event in eventQueue.delayed
}

// eventQueue holds the pending events. Each session has a line (a FIFO queue), and only the head of a line
// may be sent. A head without an attempt in progress is in the list `ready`, or in the list `delayed` until its retry
// is due. After a call of the method `hasten` there are no retries: a head that fails then is in neither list.
type eventQueue struct {
	all     order[pendingEvent]        // sorted by age
	lines   map[string][]*pendingEvent // by session id, oldest event first; a line is never empty
	ready   order[pendingEvent]        // sorted by number of failures, then by age
	delayed order[pendingEvent]        // sorted by `due`
	pushed  uint64                     // number of events ever added
	hasty   bool                       // the method `hasten` was called, so no event is retried
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

// len returns the number of pending events, including busy ones.
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

// take returns the event to send next and marks it busy; the event stays in the queue until `remove` or `retry` is called.
// If no event may be sent, the result `due` is the time of the next retry, or zero if no retry is scheduled. For a
// probe, take prefers a recent event that has never failed: the receiver may refuse an old event because of its
// content, and then the circuit would not close.
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

// youngest searches the last hundred events for the youngest one that is ready and has not failed. If there is none, it
// returns the event `other`.
func (q *eventQueue) youngest(other *pendingEvent) *pendingEvent {
	for _, e := range slices.Backward(q.all.items[max(0, q.len()-100):]) {
		if q.isHead(e) && !e.busy && e.failures == 0 {
			return e
		}
	}
	return other
}

// retry schedules the next attempt to deliver e, which the method `take` has returned, for the time `due`.
func (q *eventQueue) retry(e *pendingEvent, due time.Time) {
	e.busy, e.due = false, due
	if !q.hasty {
		q.delayed.add(e)
	}
}

// remove removes e. The next event of the same session becomes the head of the session's line.
func (q *eventQueue) remove(e *pendingEvent) {
	q.all.remove(e)
	q.ready.remove(e)
	q.delayed.remove(e)
	head, line := q.isHead(e), q.lines[e.session]
	if !head { // e is the second of its line, and the head is busy; see the method `oldest`
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

// oldest returns the oldest event that is not busy, or nil. That event is the head of its line, or the second event of
// a line whose head is busy.
func (q *eventQueue) oldest() *pendingEvent {
	for _, e := range q.all.items {
		if !e.busy {
			return e
		}
	}
	return nil
}

// hasten cancels all waits for retries: each event gets one more attempt, at once, and no retry.
func (q *eventQueue) hasten() { q.hasty = true }
