package orders

import (
	"cmp"
	"context"
	"slices"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Result is what has become of an order so far, on all nodes that have said so.
// A session that moved between nodes meanwhile may be counted on both.
type Result struct {
	Order store.Order // as it stands

	// The sums of the reports; in Nodes, they are by name. Nobody is Silent
	// about an order that was lifted.
	store.Tally
	// Partial: the board did not say what the other nodes have done.
	Partial bool
}

// Get is one of a project's orders, also if it was lifted, and what has become of
// it. The error is ErrUnknown, or a *session.Error while the board was not read
// yet.
func (b *Book) Get(ctx context.Context, app, id string) (Result, error) {
	e := b.lookUp(app, id)
	if e == nil {
		return Result{}, b.unknown()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b.result(ctx, e), nil
}

// lookUp is the entry of a project's order; nil is none.
func (b *Book) lookUp(app, id string) *entry {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if e := b.entries[id]; e != nil && e.order.App == app && b.unix() < e.order.Until {
		return e
	}
	return nil
}

// unknown is why there is no such order.
func (b *Book) unknown() error {
	if !b.Loaded() {
		return session.Errorf(session.CodeUnavailable, "this node has not read the orders yet; try again")
	}
	return ErrUnknown
}

// await is the result when all nodes that are alive have reported, or that of the
// time until.
func (b *Book) await(ctx context.Context, e *entry, until time.Time) Result {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	r := b.result(ctx, e)
	for r.Partial || len(r.Silent) > 0 {
		select {
		case <-ctx.Done():
			return r
		case <-tick.C:
		}
		if newer := b.result(ctx, e); !newer.Partial || r.Partial {
			r = newer
		}
	}
	return r
}

// result asks the board what has become of an order.
func (b *Book) result(ctx context.Context, e *entry) Result {
	reports, alive, err := b.config.Board.Reports(ctx, e.order.ID)
	r := b.local(e)
	if err != nil {
		r.Partial = true
		return r
	}
	own := len(r.Nodes) > 0 // of itself this node knows best
	for _, report := range reports {
		// The calls of a node that is gone are others' to renew now.
		gone := r.Order.Kind == store.OrderRotate && !slices.Contains(alive, report.Node)
		if (report.Node != b.config.Node || !own) && !gone {
			r.Nodes = append(r.Nodes, report)
		}
	}
	r.sum()
	for _, node := range alive {
		reported := slices.ContainsFunc(r.Nodes, func(report store.Report) bool { return report.Node == node })
		if !reported && !r.Order.Lifted {
			r.Silent = append(r.Silent, node)
		}
	}
	slices.Sort(r.Silent)
	return r
}

// local is what was done on this node.
func (b *Book) local(e *entry) Result {
	b.mu.RLock()
	defer b.mu.RUnlock()
	r := Result{Order: e.order}
	if e.applied {
		r.Nodes = []store.Report{e.report}
	}
	r.sum()
	return r
}

// sum adds up the reports.
func (r *Result) sum() {
	r.Sessions, r.Done, r.Failed, r.AccessEndsAt = 0, 0, 0, 0
	for i := range r.Nodes {
		n := &r.Nodes[i]
		r.Sessions += n.Sessions
		r.Done += n.Done
		r.Failed += n.Failed
		r.AccessEndsAt = max(r.AccessEndsAt, n.AccessEndsAt)
	}
	slices.SortFunc(r.Nodes, func(a, b store.Report) int { return cmp.Compare(a.Node, b.Node) })
}
