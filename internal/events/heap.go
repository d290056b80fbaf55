package events

import "container/heap"

// order is a heap of entries, each of which knows its place, so that any can be
// taken out. An entry stands in one order at most.
type order struct {
	entries []*entry
	before  func(a, b *entry) bool
}

// add puts e in.
func (o *order) add(e *entry) {
	e.in = o
	heap.Push(o, e)
}

// first is the first entry, or nil.
func (o *order) first() *entry {
	if len(o.entries) == 0 {
		return nil
	}
	return o.entries[0]
}

// remove takes e out, which is in.
func (o *order) remove(e *entry) {
	heap.Remove(o, e.index)
	e.in = nil
}

// Len implements heap.Interface.
func (o *order) Len() int { return len(o.entries) }

// Less implements heap.Interface.
func (o *order) Less(i, j int) bool { return o.before(o.entries[i], o.entries[j]) }

// Swap implements heap.Interface.
func (o *order) Swap(i, j int) {
	o.entries[i], o.entries[j] = o.entries[j], o.entries[i]
	o.entries[i].index, o.entries[j].index = i, j
}

// Push implements heap.Interface.
func (o *order) Push(x any) {
	e := x.(*entry) //nolint:errcheck // nothing else is pushed
	e.index = len(o.entries)
	o.entries = append(o.entries, e)
}

// Pop implements heap.Interface.
func (o *order) Pop() any {
	last := len(o.entries) - 1
	e := o.entries[last]
	o.entries[last] = nil
	o.entries = o.entries[:last]
	return e
}
