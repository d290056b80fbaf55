package hook

import "slices"

// order is a sorted slice. It is fast if items are added at the end and removed near the beginning or the end.
type order[T any] struct {
	items   []*T
	compare func(a, b *T) int
}

func (o *order[T]) len() int { return len(o.items) }

func (o *order[T]) first() *T {
	if len(o.items) == 0 {
		return nil
	}
	return o.items[0]
}

func (o *order[T]) add(item *T) {
	i, _ := slices.BinarySearchFunc(o.items, item, o.compare)
	o.items = slices.Insert(o.items, i, item)
}

// remove removes an item and reports whether the list contained it.
func (o *order[T]) remove(item *T) bool {
	i, found := slices.BinarySearchFunc(o.items, item, o.compare)
	switch {
	case !found:
	case i < len(o.items)/2:
		copy(o.items[1:i+1], o.items)
		o.items[0] = nil
		o.items = o.items[1:]
	default:
		o.items = slices.Delete(o.items, i, i+1)
	}
	return found
}
