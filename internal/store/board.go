package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"refresher/internal/session"
)

// memoryBoard is the embedded board. Its mutex is a leaf.
type memoryBoard struct {
	mu       sync.Mutex
	lost     int                          // how often it was; guarded by mu, as all else
	changes  uint64                       // since it was last lost
	orders   map[string]Order             // by id
	reports  map[string]map[string]Report // by order and node
	earliest session.UnixSec              // no order's time is over before
	follow   map[*func()]struct{}
}

func (b *memoryBoard) reset() {
	b.changes, b.earliest = 0, math.MaxInt64
	b.orders, b.reports = make(map[string]Order), make(map[string]map[string]Report)
}

// lose empties the board. Nobody is told, as nobody is by a Redis.
func (b *memoryBoard) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost++
	b.reset()
}

// forget removes the orders whose time is over. mu is held.
func (b *memoryBoard) forget(now time.Time) {
	if session.SecOf(now) < b.earliest {
		return
	}
	b.earliest = math.MaxInt64
	for id, o := range b.orders {
		if o.Until > session.SecOf(now) {
			b.earliest = min(b.earliest, o.Until)
			continue
		}
		delete(b.orders, id)
		delete(b.reports, id)
	}
}

// Give puts orders on the board, or lifts them. See Board.
func (m *Memory) Give(_ context.Context, orders ...Order) error {
	b := &m.board
	b.mu.Lock()
	defer b.mu.Unlock()
	now := m.now()
	b.forget(now)
	before, full := b.changes, false
	for _, o := range orders {
		old, known := b.orders[o.ID]
		switch {
		case o.Until <= session.SecOf(now), known && (!o.Lifted || old.Lifted || old.Format > Format):
			continue
		case !known && len(b.orders) >= MaxOrders:
			full = true
			continue
		}
		b.orders[o.ID] = o
		b.earliest = min(b.earliest, o.Until)
		b.changes++
	}
	if b.changes != before {
		for changed := range b.follow {
			(*changed)()
		}
	}
	if full {
		return ErrBoardFull
	}
	return nil
}

// Orders are those on the board, if its version is not the known one. See Board.
func (m *Memory) Orders(_ context.Context, known string) (orders []Order, version string, err error) {
	b := &m.board
	b.mu.Lock()
	defer b.mu.Unlock()
	version = fmt.Sprintf("%d.%d", b.lost, b.changes)
	if version == known {
		return nil, version, nil
	}
	b.forget(m.now())
	for _, o := range b.orders {
		if o.Format <= Format {
			orders = append(orders, o)
		}
	}
	return orders, version, nil
}

// Report puts down what a node has done about an order. See Board.
func (m *Memory) Report(_ context.Context, order string, r Report) error {
	b := &m.board
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(m.now())
	if _, known := b.orders[order]; !known {
		return nil
	}
	if b.reports[order] == nil {
		b.reports[order] = make(map[string]Report)
	}
	b.reports[order][r.Node] = r
	return nil
}

// Reports are those on one order, and the nodes that are alive. See Board.
func (m *Memory) Reports(ctx context.Context, order string) (reports []Report, alive []string, err error) {
	b := &m.board
	b.mu.Lock()
	b.forget(m.now())
	for _, r := range b.reports[order] {
		reports = append(reports, r)
	}
	b.mu.Unlock()
	slices.SortFunc(reports, func(a, b Report) int { return cmp.Compare(a.Node, b.Node) })
	statuses, err := m.Statuses(ctx, "")
	return reports, slices.Sorted(maps.Keys(statuses)), err
}

// Follow calls changed for each change of the board until ctx is done. See Board.
func (m *Memory) Follow(ctx context.Context, changed func()) error {
	b := &m.board
	b.mu.Lock()
	if b.follow == nil {
		b.follow = make(map[*func()]struct{})
	}
	b.follow[&changed] = struct{}{}
	changed()
	b.mu.Unlock()
	<-ctx.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.follow, &changed)
	return nil
}
