package events

import (
	"container/list"
	"time"

	"refresher/internal/session"
)

// entry is one event that is not settled yet. All but the failures are fixed
// once it is queued; the rest belongs to the queue.
type entry struct {
	id, session string
	kind        session.EventType
	body        []byte
	settled     func(delivered bool)
	sent        time.Time // when Send was called

	failures int // of its own

	number uint64        // in the order of Send
	place  *list.Element // in queue.all
	busy   bool          // taken
	due    time.Time     // when it may be tried again; counts in queue.delayed
	in     *order        // where it stands, if it heads its line and is not busy
	index  int           // in there
}

// queue holds the entries that are not settled: in one line per session, of
// which only the head may be tried, and in the order of Send, to find the
// oldest. It is not safe for concurrent use.
//
// A head that is not busy stands in ready, or in delayed until its wait is
// over. After hasten there are no more waits, and a head that failed stands in
// neither.
type queue struct {
	all     *list.List          // of *entry, the oldest first
	lines   map[string][]*entry // by session, the oldest first; none is empty
	ready   order               // by failures, then age
	delayed order               // by due
	busy    int                 // entries taken
	sent    uint64              // entries ever queued
	hasty   bool                // see hasten
}

func newQueue() queue {
	return queue{
		all:   list.New(),
		lines: make(map[string][]*entry),
		ready: order{before: func(a, b *entry) bool {
			if a.failures != b.failures {
				return a.failures < b.failures
			}
			return a.number < b.number
		}},
		delayed: order{before: func(a, b *entry) bool { return a.due.Before(b.due) }},
	}
}

// len is the number of entries, those taken too.
func (q *queue) len() int { return q.all.Len() }

// push queues e.
func (q *queue) push(e *entry) {
	q.sent++
	e.number = q.sent
	e.place = q.all.PushBack(e)
	q.lines[e.session] = append(q.lines[e.session], e)
	if len(q.lines[e.session]) == 1 {
		q.ready.add(e)
	}
}

// probeReach is how many entries take looks at to find one for a probe.
const probeReach = 100

// take hands out the entry to try next, or nil. It stays in the queue until
// remove or retry. For a probe it is, if there is one, a young entry that has
// not failed yet: not one of a row that may all be waiting because the receiver
// does not like them, but what it is most likely to take if it takes anything.
func (q *queue) take(now time.Time, probe bool) *entry {
	for e := q.delayed.first(); e != nil && !e.due.After(now); e = q.delayed.first() {
		q.delayed.remove(e)
		q.ready.add(e)
	}
	e := q.ready.first()
	if e == nil {
		return nil
	}
	if probe {
		e = q.youngest(e)
	}
	q.ready.remove(e)
	e.busy = true
	q.busy++
	return e
}

// youngest is the youngest entry within reach that is ready and has not failed,
// or other.
func (q *queue) youngest(other *entry) *entry {
	place := q.all.Back()
	for range min(probeReach, q.len()) {
		if e := place.Value.(*entry); e.in == &q.ready && e.failures == 0 { //nolint:errcheck // nothing else is in there
			return e
		}
		place = place.Prev()
	}
	return other
}

// next is when there will be something to take, if nothing changes until then;
// the zero time when there will not. It may have passed.
func (q *queue) next() (at time.Time) {
	if e := q.ready.first(); e != nil {
		return e.sent
	}
	if e := q.delayed.first(); e != nil {
		return e.due
	}
	return time.Time{}
}

// retry puts back e, which was taken, to be tried again at due.
func (q *queue) retry(e *entry, due time.Time) {
	e.busy = false
	q.busy--
	e.due = due
	if !q.hasty {
		q.delayed.add(e)
	}
}

// remove takes e out, wherever it stands, and moves up its session's line.
func (q *queue) remove(e *entry) {
	if e.busy {
		e.busy = false
		q.busy--
	}
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

// oldest is the oldest entry that is not busy, or nil. It is the head of its
// line, or stands right behind a busy one.
func (q *queue) oldest() *entry {
	for place := q.all.Front(); place != nil; place = place.Next() {
		if e := place.Value.(*entry); !e.busy { //nolint:errcheck // nothing else is in there
			return e
		}
	}
	return nil
}

// hasten ends all waits, so that everything can be tried at once, and once
// only: what fails from now on is not tried again.
func (q *queue) hasten() {
	q.hasty = true
	for e := q.delayed.first(); e != nil; e = q.delayed.first() {
		q.delayed.remove(e)
		q.ready.add(e)
	}
}
