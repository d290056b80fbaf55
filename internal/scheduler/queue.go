package scheduler

import "time"

// queue holds each entry at most once. An entry waits ordered by its due time. Once it is
// due, it is ordered by the expiry of its tokens: if the node is overloaded, the session
// whose tokens expire first is served first.
//
// All operations except Each and Behind are O(log n). Times are on the monotonic clock. A
// queue is not safe for concurrent use.
type queue struct {
	waiting heap // key: due time; other: expiry of the tokens
	ready   heap // key: expiry of the tokens; other: due time, which has come
}

// item is an element of a heap. It has copies of the entry's times, so that sifting and
// scanning need not follow the pointer.
type item struct {
	key   time.Duration // orders the heap
	other time.Duration
	entry *entry
}

// position is an entry's place in the queue; the zero value means that it is not queued.
type position struct {
	index uint32
	in    membership
}

// membership says which heap of the queue an entry is in.
type membership uint8

const (
	inNone membership = iota
	inWaiting
	inReady
)

// queued reports whether the entry is in the queue.
func (p *position) queued() bool { return p.in != inNone }

// Set adds e to the queue, or moves it, with this due time. expires is when its tokens
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

// Remove removes e, if it is queued.
func (q *queue) Remove(e *entry) {
	switch at := e.slot.position; at.in {
	case inWaiting:
		q.waiting.remove(int(at.index))
	case inReady:
		q.ready.remove(int(at.index))
	case inNone:
	}
}

// Peek returns the number of due entries, and the due time of the next one after them; never
// if there is none.
func (q *queue) Peek(now time.Duration) (due int, next time.Duration) {
	q.promote(now)
	if len(q.waiting.items) == 0 {
		return len(q.ready.items), never
	}
	return len(q.ready.items), q.waiting.items[0].key
}

// Next removes and returns the due entry whose tokens expire first; nil if none is due.
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

// Behind returns how late the most overdue entry is. It takes O(n) for n entries that are
// due.
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

// Each calls f for every entry, in no order.
func (q *queue) Each(f func(e *entry, due, expires time.Duration)) {
	for _, it := range q.waiting.items {
		f(it.entry, it.key, it.other)
	}
	for _, it := range q.ready.items {
		f(it.entry, it.other, it.key)
	}
}

// never is later than any time on the monotonic clock.
const never = time.Duration(1<<63 - 1)

// arity is the number of children of a node in a heap. A heap with four children is half as
// deep as a binary one, and four items share one or two cache lines, which makes it faster.
const arity = 4

// heap is a d-ary min-heap that records each entry's position in the entry.
type heap struct {
	items []item
}

func (h *heap) push(it item) {
	h.items = append(h.items, it)
	h.up(len(h.items)-1, it)
}

// remove takes out the item at index i.
func (h *heap) remove(i int) {
	h.items[i].entry.slot.position = position{}
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = item{} // so that the entry can be garbage-collected
	h.items = h.items[:last]
	if i < last {
		h.replace(i, it)
	}
}

// replace replaces the item at index i by it, and restores the order.
func (h *heap) replace(i int, it item) {
	if i > 0 && it.key < h.items[(i-1)/arity].key {
		h.up(i, it)
	} else {
		h.down(i, it)
	}
}

// up moves the hole at i up until it can hold the item it.
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

// down moves the hole at i down until it can hold the item it.
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
