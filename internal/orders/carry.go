package orders

import (
	"context"
	"time"

	"refresher/internal/store"
)

const (
	// progressEvery is how often the progress of a roll-over is looked at, at
	// most.
	progressEvery = time.Second
	// progressShare bounds what looking takes: of so many spans, one.
	progressShare = 20
	// progressBeyond is for how long it is looked at beyond its span.
	progressBeyond = time.Minute
	// overtaken is the note on a roll-over that is not carried out any more.
	overtaken = "overtaken by a newer one"
)

// carryOut has the sessions brought in line with the orders that this node learns
// of, but for roll-overs.
func (b *Book) carryOut(ctx context.Context) {
	for ctx.Err() == nil {
		if e := b.nextToApply(); e != nil {
			b.apply(e)
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.wakeApply:
		}
	}
}

// nextToApply is what is to be carried out now; nil is nothing.
func (b *Book) nextToApply() *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.news) == 0 {
		return nil
	}
	e := b.news[0]
	if b.news = b.news[1:]; len(b.news) == 0 {
		b.news = nil
	}
	return e
}

// rollOver carries out the roll-overs that this node learns of, and asks for the
// progress of all.
func (b *Book) rollOver(ctx context.Context) {
	for ctx.Err() == nil {
		e, wait := b.nextToRoll(time.Now())
		if e != nil {
			b.apply(e)
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.wakeRoll:
		case <-time.After(wait):
		}
	}
}

// nextToRoll is a roll-over that is due; if nil, none is for the span.
func (b *Book) nextToRoll(now time.Time) (*entry, time.Duration) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	wait := time.Hour
	for e, at := range b.rolling {
		left := at.Sub(now)
		if left <= 0 {
			return e, 0
		}
		wait = min(wait, left)
	}
	return nil, wait
}

// resume has a project's newest roll-over carried out, if it was overtaken by one
// that does not count any more. Book.mu is held.
func (b *Book) resume(app string) {
	if e := b.newestRotation(app); e != nil && e.report.Note == overtaken {
		b.rolling[e] = time.Time{}
		signal(b.wakeRoll)
	}
}

// apply carries an order out, once more for a roll-over, and notes what was done.
func (b *Book) apply(e *entry) {
	b.turn.take(e.order.Kind == store.OrderRotate)
	defer b.turn.pass()

	b.mu.Lock()
	o, r := e.order, e.report
	newest := b.newest(&o)
	if b.entries[o.ID] != e || !stands(&o, b.unix()) || newest != nil && newest != e && complete(e) {
		delete(b.rolling, e) // nothing is left to be done
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	began := time.Now()
	switch {
	case newest == nil || newest == e:
		r = b.config.Sessions(o)
	case o.Kind == store.OrderRole:
		r.Note = "a newer order gives this session its role"
	default:
		r.Note = overtaken // of what was done it still tells
	}
	took := time.Since(began)
	r.Node = b.config.Node
	if r.Note == "" && o.Kind == store.OrderRotate && o.Certificate != "" && b.config.Certificate != nil &&
		b.config.Certificate(o.App) != o.Certificate {
		r.Note = "this node has another certificate than the one that gave the order"
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	changed := !e.applied || e.report != r
	e.report, e.applied = r, true
	if changed {
		e.told = false
		b.tell(e)
	}
	if o.Kind == store.OrderRotate {
		b.roll(e, changed, took)
	}
}

// complete reports whether a roll-over has nothing left to do. Book.mu is held.
func complete(e *entry) bool {
	r := &e.report
	return e.order.Kind == store.OrderRotate && e.applied && r.Done+r.Failed >= r.Sessions
}

// roll decides whether to look at the progress of a roll-over again, and when, by
// what looking took. Book.mu is held.
func (b *Book) roll(e *entry, changed bool, took time.Duration) {
	over := e.order.At.Time().Add(time.Duration(e.order.OverMs)*time.Millisecond + progressBeyond)
	done := e.report.Note == overtaken || complete(e) && !changed
	if done || b.entries[e.order.ID] != e || !b.config.Now().Before(over) {
		delete(b.rolling, e)
		return
	}
	b.rolling[e] = time.Now().Add(max(progressEvery, progressShare*took))
	signal(b.wakeRoll)
}

// tell has the board told what was done, once it knows of the order. Book.mu is
// held.
func (b *Book) tell(e *entry) {
	if _, waits := b.unsaved[e]; waits || !e.applied || e.told || e.queued {
		return
	}
	e.queued = true
	b.untold = append(b.untold, e)
	signal(b.wakeTell)
}

// report tells the board what was done about each order.
func (b *Book) report(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		e, r := b.nextToTell()
		if e == nil {
			select {
			case <-ctx.Done():
			case <-b.wakeTell:
			}
			continue
		}
		if b.told(ctx, e, r) {
			failures = 0
			continue
		}
		// That the board is away shows when it is read.
		if !pause(ctx, min(maxRetry, minRetry<<min(failures, 10))) {
			return
		}
		failures++
	}
}

// nextToTell is a report to be written; nil is none.
func (b *Book) nextToTell() (*entry, store.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.untold) > 0 {
		e := b.untold[0]
		if b.untold = b.untold[1:]; len(b.untold) == 0 {
			b.untold = nil
		}
		e.queued = false
		if b.entries[e.order.ID] == e {
			return e, e.report
		}
	}
	return nil, store.Report{}
}

// told writes a report, and reports whether that worked. If not, it is the last to
// be tried again: perhaps it is only this one that the board does not take.
func (b *Book) told(ctx context.Context, e *entry, r store.Report) bool {
	ctx, cancel := context.WithTimeout(ctx, boardTimeout)
	defer cancel()
	err := b.config.Board.Report(ctx, e.order.ID, r)
	b.mu.Lock()
	defer b.mu.Unlock()
	e.told = err == nil && e.report == r
	b.tell(e)
	return err == nil
}
