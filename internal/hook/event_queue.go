package hook

import (
	"container/heap"
	"container/list"
	"time"

	"refresher/internal/session"
)

// pendingEvent is one event that is not settled yet.
type pendingEvent struct {
	id, session string
	kind        session.EventType
	body        []byte
	settled     func(delivered bool)
	sent        time.Time // when Send was called

	failures int // guarded by client.mu, as all that follows

	number uint64        // in the order of Send
	place  *list.Element // in eventQueue.all
	busy   bool          // an attempt is under way
	due    time.Time     // when it may be tried again; counts in eventQueue.delayed
	in     *order        // ready or delayed, if it is the first of its session and not busy
	index  int           // in there
}

// eventQueue holds the events that are not settled, in one line per session, of which only
// the head may be tried. It is not safe for concurrent use.
//
// A head that is not busy stands in ready, or in delayed until its wait is over. After
// hasten there are no more waits, and a head that failed stands in neither.
type eventQueue struct {
	all     *list.List                 // of *pendingEvent, the oldest first
	lines   map[string][]*pendingEvent // by session, the oldest first; none is empty
	ready   order                      // by failures, then age
	delayed order                      // by due
	pushed  uint64                     // events so far
	hasty   bool                       // see hasten
}

func newEventQueue() eventQueue {
	return eventQueue{
		all:   list.New(),
		lines: make(map[string][]*pendingEvent),
		ready: order{before: func(a, b *pendingEvent) bool {
			if a.failures != b.failures {
				return a.failures < b.failures
			}
			return a.number < b.number
		}},
		delayed: order{before: func(a, b *pendingEvent) bool { return a.due.Before(b.due) }},
	}
}

// len returns the number of events, busy ones included.
func (q *eventQueue) len() int { return q.all.Len() }

func (q *eventQueue) push(e *pendingEvent) {
	q.pushed++
	e.number = q.pushed
	e.place = q.all.PushBack(e)
	q.lines[e.session] = append(q.lines[e.session], e)
	if len(q.lines[e.session]) == 1 {
		q.ready.add(e)
	}
}

// probeReach is how many events take looks at to find one for a probe.
const probeReach = 100

// take returns the event to try next, which stays in the queue until remove or retry. If
// there is none, due is when there will be, or zero if that takes a change. For a probe it
// is, if there is one, a young event that has not failed yet: not one of a row that may all
// be waiting because the receiver does not like them, but what it is most likely to take if
// it takes anything.
func (q *eventQueue) take(now time.Time, probe bool) (e *pendingEvent, due time.Time) {
	for {
		e := q.delayed.first()
		if e == nil {
			break
		}
		if due = e.due; due.After(now) {
			break
		}
		q.delayed.remove(e)
		q.ready.add(e)
		due = time.Time{}
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

// youngest returns the youngest event within reach that is ready and has not failed, or
// other.
func (q *eventQueue) youngest(other *pendingEvent) *pendingEvent {
	place := q.all.Back()
	for range min(probeReach, q.len()) {
		if e := eventAt(place); e.in == &q.ready && e.failures == 0 {
			return e
		}
		place = place.Prev()
	}
	return other
}

func eventAt(place *list.Element) *pendingEvent {
	return place.Value.(*pendingEvent) //nolint:errcheck // nothing else is in there
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
	e.busy = false
	if e.in != nil {
		e.in.remove(e)
	}
	q.all.Remove(e.place)
	line := q.lines[e.session]
	if line[0] != e { // dropped from behind a busy head
		line[0], line[1] = nil, line[0]
		q.lines[e.session] = line[1:]
		return
	}
	line[0] = nil
	if line = line[1:]; len(line) == 0 {
		delete(q.lines, e.session)
		return
	}
	q.lines[e.session] = line
	q.ready.add(line[0])
}

// oldest returns the oldest event that is not busy, or nil. It is the head of its line, or
// stands right behind a busy one.
func (q *eventQueue) oldest() *pendingEvent {
	for place := q.all.Front(); place != nil; place = place.Next() {
		if e := eventAt(place); !e.busy {
			return e
		}
	}
	return nil
}

// hasten ends all waits, so that everything can be tried at once, and once only: what fails
// from now on is not tried again.
func (q *eventQueue) hasten() {
	q.hasty = true
	for e := q.delayed.first(); e != nil; e = q.delayed.first() {
		q.delayed.remove(e)
		q.ready.add(e)
	}
}

// order is a heap of events, each of which knows its place, so that any can be taken out.
// An event stands in one order at most.
type order struct {
	events []*pendingEvent
	before func(a, b *pendingEvent) bool
}

func (o *order) add(e *pendingEvent) {
	e.in = o
	heap.Push(o, e)
}

// first returns the first event, or nil.
func (o *order) first() *pendingEvent {
	if len(o.events) == 0 {
		return nil
	}
	return o.events[0]
}

// remove takes out e, which is in.
func (o *order) remove(e *pendingEvent) {
	heap.Remove(o, e.index)
	e.in = nil
}

// Len, Less, Swap, Push and Pop implement heap.Interface.

func (o *order) Len() int           { return len(o.events) }
func (o *order) Less(i, j int) bool { return o.before(o.events[i], o.events[j]) }

func (o *order) Swap(i, j int) {
	o.events[i], o.events[j] = o.events[j], o.events[i]
	o.events[i].index, o.events[j].index = i, j
}

func (o *order) Push(x any) {
	e := x.(*pendingEvent) //nolint:errcheck // nothing else is pushed
	e.index = len(o.events)
	o.events = append(o.events, e)
}

func (o *order) Pop() any {
	last := len(o.events) - 1
	e := o.events[last]
	o.events[last] = nil
	o.events = o.events[:last]
	return e
}
