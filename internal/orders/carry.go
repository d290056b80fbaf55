package orders

import (
	"context"
	"time"

	"refresher/internal/store"
)

const (
	// progressEvery is how often the progress of a roll-over is looked at.
	progressEvery = time.Second
	// progressBeyond is for how long it is looked at beyond its span.
	progressBeyond = time.Minute
)

// carryOut has the sessions brought in line with the orders that this node learns
// of, and asks for the progress of roll-overs.
func (b *Book) carryOut(ctx context.Context) {
	for ctx.Err() == nil {
		e, wait := b.nextToApply(time.Now())
		if e != nil {
			b.apply(e)
			continue
		}
		select {
		case <-ctx.Done():
		case <-b.wakeApply:
		case <-time.After(wait):
		}
	}
}

// nextToApply is what is to be carried out now; if nil, there is nothing for the
// span.
func (b *Book) nextToApply(now time.Time) (*entry, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.news) > 0 {
		e := b.news[0]
		if b.news = b.news[1:]; len(b.news) == 0 {
			b.news = nil
		}
		return e, 0
	}
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

// apply carries an order out, once more for a roll-over, and notes what was done.
func (b *Book) apply(e *entry) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()

	b.mu.RLock()
	o := e.order
	newest := b.newestRole(o.App, o.Session)
	b.mu.RUnlock()
	if !stands(&o, b.unix()) {
		b.mu.Lock() // it was lifted, or its time ended
		delete(b.rolling, e)
		b.mu.Unlock()
		return
	}
	var r store.Report
	if o.Kind == store.OrderRole && newest != e {
		r.Note = "a newer order gives this session its role"
	} else {
		r = b.config.Sessions(o)
	}
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
		b.roll(e, changed)
	}
}

// roll decides whether to look at the progress of a roll-over again. Book.mu is
// held.
func (b *Book) roll(e *entry, changed bool) {
	over := time.UnixMilli(e.order.At + e.order.OverMs).Add(progressBeyond)
	complete := e.report.Done+e.report.Failed >= e.report.Sessions
	if complete && !changed || !b.config.Now().Before(over) {
		delete(b.rolling, e)
		return
	}
	b.rolling[e] = time.Now().Add(progressEvery)
	signal(b.wakeApply)
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
