package orders

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// patience is how long whoever gives an order waits for the board, and for
	// what the nodes have done.
	patience = 900 * time.Millisecond
	// lookEvery is how often it looks for reports meanwhile.
	lookEvery = 50 * time.Millisecond
)

// Give gives an order. Of o, ID, At and Certificate may be left empty; By and
// Format are filled in. It counts at once on this node and is carried out here;
// then it is put on the board, and Give waits until all nodes that are alive have
// reported, but no more than 900 ms in all, beyond what its own sessions take.
//
// With store.ErrNotDurable the order was given all the same, and the Result is this
// node's. A *session.Error refuses it: nothing was done, but where the board had no
// room for it after all; then what was done to sessions here stays done. ctx only ends the waiting for reports: what
// was begun is not left half done.
func (b *Book) Give(ctx context.Context, o store.Order) (Result, error) {
	until := time.Now().Add(patience)
	e, err := b.take(o)
	if err != nil {
		b.metrics.count(o.Kind, refused)
		return Result{}, err
	}
	b.log("given", e.order)
	put := make(chan error, 1)
	go func() { put <- b.save(ctx, e, until) }()
	b.apply(e)
	err = <-put
	if errors.Is(err, store.ErrBoardFull) {
		b.takeBack(e)
		b.metrics.count(o.Kind, refused)
		return Result{}, noRoom("orders")
	}
	if err != nil {
		b.metrics.count(o.Kind, unsaved)
		r := b.local(e)
		r.Partial = true
		return r, fmt.Errorf("%w: %w", store.ErrNotDurable, err)
	}
	b.metrics.count(o.Kind, saved)
	if soon := time.Now().Add(2 * lookEvery); until.Before(soon) {
		until = soon // the sessions took long, the other nodes may be done
	}
	return b.await(ctx, e, until), nil
}

// Lift has an order count no more, on this node at once, and on the others when
// they learn of it. To lift it twice is no error. The error is ErrUnknown,
// store.ErrNotDurable, or a *session.Error while the board was not read yet.
func (b *Book) Lift(ctx context.Context, app, id string) error {
	e := b.lookUp(app, id)
	if e == nil {
		return b.unknown()
	}
	b.mu.Lock()
	if b.lift(e) {
		b.unsaved[e] = struct{}{}
		defer b.log("lifted", e.order)
	}
	_, due := b.unsaved[e]
	b.mu.Unlock()
	if !due {
		return nil
	}
	if err := b.save(ctx, e, time.Now().Add(patience)); err != nil {
		return fmt.Errorf("%w: %w", store.ErrNotDurable, err)
	}
	return nil
}

// check refuses, with a *session.Error, an order that cannot be meant.
func check(o *store.Order, now session.UnixSec) error {
	names := []string{o.Session, o.Channel, o.User, o.Subject}
	long := func(name string) bool { return len(name) > store.MaxName }
	switch {
	case !known(o.Kind):
		return session.Errorf(session.CodeBadRequest, "kind: there is no such order")
	case o.App == "" || long(o.App) || long(o.ID) || slices.ContainsFunc(names, long):
		return session.Errorf(session.CodeBadRequest, "want an app, and names of %d bytes at most", store.MaxName)
	case o.Until <= now:
		return session.Errorf(session.CodeBadRequest, "the time for which the order is to stand is over already")
	case o.Kind == store.OrderRevoke && targetOf(o) == target{}:
		return session.Errorf(session.CodeBadRequest, "say what to revoke: a session, channel, user or subject, or several")
	case (o.Kind == store.OrderRole || o.Kind == store.OrderRenew) && o.Session == "":
		return session.Errorf(session.CodeBadRequest, "session: required")
	case o.OverMs < 0:
		return session.Errorf(session.CodeBadRequest, "over: want 0 or more")
	case o.Lifted:
		return session.Errorf(session.CodeBadRequest, "an order is given first, and then lifted")
	}
	return nil
}

// known reports whether this release knows a kind of order.
func known(kind store.OrderKind) bool { return slices.Contains(kinds, kind) }

// take completes an order and has it count.
func (b *Book) take(o store.Order) (*entry, error) {
	now := b.config.Now()
	if err := check(&o, session.SecOf(now)); err != nil {
		return nil, err
	}
	if o.ID == "" {
		o.ID = rand.Text()
	}
	if o.Kind == store.OrderRotate && o.Certificate == "" && b.config.Certificate != nil {
		o.Certificate = b.config.Certificate(o.App)
	}
	o.By, o.Format = b.config.Node, store.Format
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.entries[o.ID]; taken {
		return nil, session.Errorf(session.CodeBadRequest, "id: there is an order of that name")
	}
	if err := b.room(&o); err != nil {
		return nil, err
	}
	if o.At == 0 {
		o.At = session.MilliOf(now)
		if newest := b.newest(&o); newest != nil {
			// What is said later counts, though it be in the same
			// millisecond, or the other node's clock ahead.
			o.At = max(o.At, newest.order.At+1)
		}
	}
	e := b.add(o)
	e.giving = true
	b.unsaved[e] = struct{}{}
	return e, nil
}

// takeBack forgets an order that was just given here, and that no other node knows
// of.
func (b *Book) takeBack(e *entry) {
	b.mu.Lock()
	b.lift(e) // for those who have hold of it
	b.forget(e)
	o := e.order
	b.mu.Unlock()
	b.log("taken back, since the board is full", o)
}

// add enters an order. Book.mu is held.
func (b *Book) add(o store.Order) *entry {
	e := &entry{order: o}
	b.entries[o.ID] = e
	for _, q := range b.quotas.of(&o) {
		q.add(o.App)
	}
	b.earliest = min(b.earliest, o.Until)
	if !o.Lifted {
		b.index(e)
	}
	return e
}

// lift has an entry count no more, and reports whether that is new. Book.mu is
// held.
func (b *Book) lift(e *entry) bool {
	if e.order.Lifted || b.entries[e.order.ID] != e { // or its time has just ended
		return false
	}
	b.unindex(e)
	e.order.Lifted = true
	e.tryAfter = time.Time{} // the board may know it, and lifts it then
	return true
}

// forget undoes add. Book.mu is held.
func (b *Book) forget(e *entry) {
	if b.entries[e.order.ID] != e {
		return
	}
	if !e.order.Lifted {
		b.unindex(e)
	}
	delete(b.entries, e.order.ID)
	delete(b.unsaved, e)
	delete(b.rolling, e)
	for _, q := range b.quotas.of(&e.order) {
		q.remove(e.order.App)
	}
}

// save puts an entry on the board as it stands, until the time of that name at
// the latest. If that fails, the keeping loop goes on with it.
func (b *Book) save(ctx context.Context, e *entry, until time.Time) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	err := b.put(ctx, []*entry{e})
	if err != nil {
		signal(b.wakeKeep)
	}
	return err
}

// put puts entries on the board.
func (b *Book) put(ctx context.Context, entries []*entry) error {
	b.mu.Lock()
	orders := make([]store.Order, len(entries))
	for i, e := range entries {
		orders[i] = e.order
		e.givenAt = time.Now()
	}
	b.mu.Unlock()
	err := b.config.Board.Give(ctx, orders...)
	b.mu.Lock()
	defer b.mu.Unlock()
	full := errors.Is(err, store.ErrBoardFull)
	for _, e := range entries {
		e.giving = e.giving && full
		if err != nil {
			e.givenAt = time.Time{} // for all that is known
		}
		if full {
			e.tryAfter = time.Now().Add(roomAfter)
		}
	}
	if err != nil {
		return err
	}
	for i, e := range entries {
		if e.order == orders[i] { // it was not lifted meanwhile
			b.settle(e)
		}
	}
	return nil
}

// settle notes that the board has an entry as it is: now it can be told what was
// done. Book.mu is held.
func (b *Book) settle(e *entry) {
	delete(b.unsaved, e)
	b.tell(e)
}

// log says what became of an order. Whom it is about is personal data, which
// only who debugs wants to see.
func (b *Book) log(change string, o store.Order) {
	l := b.config.Logger.With("order", o.ID, "kind", string(o.Kind), "app_id", o.App)
	l.Info("the orders that stand have changed", "change", change)
	l.Debug("whom that order is about", "session", o.Session, "channel", o.Channel, "user", o.User, "subject", o.Subject)
}
