package scheduler

import "time"

// queue holds entries, each at most once. An entry waits in the order of the due times. Once it is
// due, it is served in the order of the tokens' expiry: if the node is overloaded, the session
// whose tokens expire first comes first.
//
// All operations except Each and Behind are O(log n). Times are on the monotonic clock. A queue is
// not safe for concurrent use.
type queue struct {
	// waiting contains the entries that are not due: the key is the due time, and `other` is the
	// expiry of the tokens. ready contains the due entries: there the key is the expiry, and
	// `other` is the due time.
	waiting heap
	ready   heap
}

// item is an element of a heap. It has copies of the entry's times, so that operations on the heap
// need not follow the pointer to the entry.
type item struct {
	// The heap orders its items by key.
	key   time.Duration
	other time.Duration
	entry *entry
}

// position is an entry's place in the queue. The zero value means that the entry is not in the
// queue.
type position struct {
	index uint32
	in    membership
}

// membership says in which of the queue's heaps an entry is.
type membership uint8

const (
	inNone membership = iota
	inWaiting
	inReady
)

// queued reports whether the entry is in the queue.
func (p *position) queued() bool { return p.in != inNone }

// Set adds e to the queue or, if e is in it, changes its times. expires is when the tokens of e
// expire.
func (q *queue) Set(e *entry, due, expires time.Duration) {
	it := item{key: due, other: expires, entry: e}
	switch at := e.slot.position; at.in {
	case inWaiting:
		q.waiting.replace(int(at.index), it)
	case inReady:
		q.ready.remove(int(at.index))
		q.push(inWaiting, it)
	case inNone:
		q.push(inWaiting, it)
	}
}

// push adds an item to one of the heaps.
func (q *queue) push(to membership, it item) {
	it.entry.slot.in = to
	if to == inReady {
		q.ready.push(it)
	} else {
		q.waiting.push(it)
	}
}

// Remove removes e from the queue, if e is in it.
func (q *queue) Remove(e *entry) {
	switch at := e.slot.position; at.in {
	case inWaiting:
		q.waiting.remove(int(at.index))
	case inReady:
		q.ready.remove(int(at.index))
	case inNone:
	}
}

// Peek returns the number of due entries and the next due time of an entry that is not yet due.
// That time is `never` if there is no such entry.
func (q *queue) Peek(now time.Duration) (due int, next time.Duration) {
	q.promote(now)
	if len(q.waiting.items) == 0 {
		return len(q.ready.items), never
	}
	return len(q.ready.items), q.waiting.items[0].key
}

// Next removes and returns the due entry whose tokens expire first, or nil if none is due.
func (q *queue) Next(now time.Duration) *entry {
	q.promote(now)
	if len(q.ready.items) == 0 {
		return nil
	}
	e := q.ready.items[0].entry
	q.ready.remove(0)
	return e
}

// promote moves the entries that have become due from waiting to ready.
func (q *queue) promote(now time.Duration) {
	for len(q.waiting.items) > 0 && q.waiting.items[0].key <= now {
		it := q.waiting.items[0]
		q.waiting.remove(0)
		it.key, it.other = it.other, it.key
		q.push(inReady, it)
	}
}

// Behind returns how long the most overdue entry has been due. It takes O(n) for n due entries.
func (q *queue) Behind(now time.Duration) time.Duration {
	var behind time.Duration
	for _, it := range q.ready.items {
		behind = max(behind, now-it.other)
	}
	if len(q.waiting.items) > 0 {
		behind = max(behind, now-q.waiting.items[0].key)
	}
	return behind
}

// Len returns the number of entries in the queue.
func (q *queue) Len() int { return len(q.waiting.items) + len(q.ready.items) }

// Each calls f for every entry. The order is undefined.
func (q *queue) Each(f func(e *entry, due, expires time.Duration)) {
	for _, it := range q.waiting.items {
		f(it.entry, it.key, it.other)
	}
	for _, it := range q.ready.items {
		f(it.entry, it.other, it.key)
	}
}

// never is a time on the monotonic clock that is later than any other.
const never = time.Duration(1<<63 - 1)

// arity is the number of children of a node in a heap. A heap with four children is half as deep as
// a binary one, and the four children share one or two cache lines. Both make the heap faster.
const arity = 4

// heap is a min-heap with arity children per node. It records each entry's position in the entry.
type heap struct {
	items []item
}

func (h *heap) push(it item) {
	h.items = append(h.items, it)
	h.up(len(h.items)-1, it)
}

// remove removes the item at index i.
func (h *heap) remove(i int) {
	h.items[i].entry.slot.position = position{}
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = item{} // lets the garbage collector free the entry
	h.items = h.items[:last]
	if i < last {
		h.replace(i, it)
	}
}

// replace replaces the item at index i with another, and restores the heap's order.
func (h *heap) replace(i int, it item) {
	if i > 0 && it.key < h.items[(i-1)/arity].key {
		h.up(i, it)
	} else {
		h.down(i, it)
	}
}

// up finds the item's place on the way from index i to the root: it moves greater parents down, and
// then stores the item.
func (h *heap) up(i int, it item) {
	for i > 0 {
		parent := (i - 1) / arity
		if h.items[parent].key <= it.key {
			break
		}
		h.place(i, h.items[parent])
		i = parent
	}
	h.place(i, it)
}

// down finds the item's place below index i: it moves smaller children up, and then stores the
// item.
func (h *heap) down(i int, it item) {
	for {
		first := i*arity + 1
		if first >= len(h.items) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(h.items)); c++ {
			if h.items[c].key < h.items[least].key {
				least = c
			}
		}
		if it.key <= h.items[least].key {
			break
		}
		h.place(i, h.items[least])
		i = least
	}
	h.place(i, it)
}

func (h *heap) place(i int, it item) {
	h.items[i] = it
	it.entry.slot.index = uint32(i)
}
