package hook

import (
	"cmp"
	"container/list"
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
	number   uint64        // in the order of Send
	place    *list.Element // in eventQueue.all
	busy     bool          // an attempt is under way
	due      time.Time     // when it may be tried again; counts in eventQueue.delayed
}

// eventQueue holds the events that are not settled, in one line per session, of which only
// the head may be tried. A head that is not busy stands in ready, or in delayed until its
// wait is over; after hasten there are no more waits, and one that failed stands in neither.
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
		ready: order{compare: func(a, b *pendingEvent) int {
			return cmp.Or(cmp.Compare(a.failures, b.failures), cmp.Compare(a.number, b.number))
		}},
		delayed: order{compare: func(a, b *pendingEvent) int {
			return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.number, b.number))
		}},
	}
}

// len returns the number of events, busy ones included.
func (q *eventQueue) len() int { return q.all.Len() }

func (q *eventQueue) push(e *pendingEvent) {
	q.pushed++
	e.number = q.pushed
	e.place = q.all.PushBack(e)
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
	switch {
	case q.ready.first() != nil:
		e = q.ready.first()
	case e != nil:
		return nil, e.due
	default:
		return nil, time.Time{}
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
	place := q.all.Back()
	for range min(100, q.len()) {
		if e := eventAt(place); q.isHead(e) && !e.busy && e.failures == 0 {
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
	q.ready.remove(e)
	q.delayed.remove(e)
	q.all.Remove(e.place)
	head := q.isHead(e)
	line := q.lines[e.session]
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
	for place := q.all.Front(); place != nil; place = place.Next() {
		if e := eventAt(place); !e.busy {
			return e
		}
	}
	return nil
}

// hasten ends all waits, so that everything can be tried at once, and once only: what fails
// from now on is not tried again.
func (q *eventQueue) hasten() { q.hasty = true }

// order is a sorted list of events. Most are added last and removed first, which is fast.
type order struct {
	events  []*pendingEvent
	compare func(a, b *pendingEvent) int
}

func (o *order) add(e *pendingEvent) {
	i, _ := slices.BinarySearchFunc(o.events, e, o.compare)
	o.events = slices.Insert(o.events, i, e)
}

// remove takes out e, if it is in.
func (o *order) remove(e *pendingEvent) {
	i, there := slices.BinarySearchFunc(o.events, e, o.compare)
	switch {
	case !there:
	case i == 0:
		o.events[0] = nil
		o.events = o.events[1:]
	default:
		o.events = slices.Delete(o.events, i, i+1)
	}
}

// first returns the first event, or nil.
func (o *order) first() *pendingEvent {
	if len(o.events) == 0 {
		return nil
	}
	return o.events[0]
}
