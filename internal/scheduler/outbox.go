package scheduler

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/store"
)

// Bounds of the wait before a shard that could not be written is tried again.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second
)

// laneBatch is how many records of one shard are written at once.
const laneBatch = 64

// maxUnsaved bounds how many records of sessions that are over wait for a store
// that is away: some 600 MB. Those of open sessions are bounded by the sessions.
const maxUnsaved = 1_000_000

// outbox holds what the store is still to be told: for each session at most one
// record, the newest. It is safe for concurrent use. It is a leaf: nothing is
// locked under its lock.
type outbox struct {
	wake chan struct{} // there is something to write

	mu      sync.Mutex
	lanes   [store.Shards]lane // guarded by mu
	unsaved int                // records in the lanes; guarded by mu
	ended   int                // of them, those of sessions that are over; guarded by mu
	dropped uint64             // records that there was no room for; guarded by mu
}

// lane is what goes to one shard, which may be away while others are not.
type lane struct {
	entries  []*entry // those that have a record to be written
	failures int      // in a row
	retryAt  time.Duration
	downFrom time.Duration // since when it is away, 0 = it is not
}

// put has r written for e, in place of one that is still to be written. recording
// ends when it is; nil if nobody wants to know.
func (o *outbox) put(e *entry, r *store.Record, recording trace.Span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue(e, r, recording)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// queue is put without the lock, which is held.
func (o *outbox) queue(e *entry, r *store.Record, recording trace.Span) {
	if recording != nil {
		if e.recording != nil { // one is told of; the newer record says all of both
			e.recording.End()
		}
		e.recording = recording
	}
	if e.unsaved != nil {
		o.discount(e.unsaved)
	} else {
		l := &o.lanes[store.ShardOf(e.id)]
		l.entries = append(l.entries, e)
	}
	e.unsaved = r
	o.unsaved++
	if r.HasEnded() {
		o.ended++
	}
}

func (o *outbox) discount(r *store.Record) {
	o.unsaved--
	if r.HasEnded() {
		o.ended--
	}
}

// full reports that no more can be kept of sessions that are over, and counts
// the one that it was asked for.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended < maxUnsaved {
		return false
	}
	o.dropped++
	return true
}

// letter is a record on its way to the store.
type letter struct {
	entry     *entry
	record    *store.Record
	recording trace.Span // nil: it is not traced
}

// recorded notes that the store has it.
func (l *letter) recorded() {
	if l.recording != nil {
		l.recording.End()
	}
}

// take hands out records of all shards that are not to be waited for, a batch
// of each, and reports whether there are more.
func (o *outbox) take(now time.Duration) (letters []letter, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.lanes {
		l := &o.lanes[i]
		if l.retryAt > now {
			continue
		}
		n := min(len(l.entries), laneBatch)
		for _, e := range l.entries[:n] {
			letters = append(letters, letter{e, e.unsaved, e.recording})
			o.discount(e.unsaved)
			e.unsaved, e.recording = nil, nil
		}
		rest := copy(l.entries, l.entries[n:])
		clear(l.entries[rest:])
		if l.entries = l.entries[:rest]; rest == 0 {
			l.entries = nil // a storm's room is not kept for ever
		}
		more = more || rest > 0
	}
	return letters, more
}

// giveBack returns a record that was not written, unless there is a newer one.
func (o *outbox) giveBack(l letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.entry.unsaved == nil {
		o.queue(l.entry, l.record, l.recording)
	} else if l.recording != nil {
		l.recording.End()
	}
}

// next is when there is something to write again: now, later, or never.
func (o *outbox) next() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := never
	for i := range o.lanes {
		if l := &o.lanes[i]; len(l.entries) > 0 {
			at = min(at, l.retryAt)
		}
	}
	return at
}

// answered notes which shards were reached, and which were not. It returns those
// that are back, how many are away, and how long the longest of those that are
// back was.
func (o *outbox) answered(reached, failed *shards, now time.Duration) (back shards, away int, since time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.lanes {
		l := &o.lanes[i]
		switch {
		case failed[i]:
			l.retryAt = now + min(maxRetry, minRetry<<min(l.failures, 10))
			l.failures++
			if l.downFrom == 0 {
				l.downFrom = max(1, now)
			}
		case reached[i]:
			if back[i] = l.downFrom != 0; back[i] {
				since = max(since, now-l.downFrom)
			}
			l.failures, l.retryAt, l.downFrom = 0, 0, 0
		}
		if l.downFrom != 0 {
			away++
		}
	}
	return back, away, since
}

// reachable reports whether a shard was, when it was last tried.
func (o *outbox) reachable(shard int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lanes[shard].downFrom == 0
}

// state is how many shards are away, how many records wait, and how many were
// dropped.
func (o *outbox) state() (away, unsaved int, dropped uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.lanes {
		if o.lanes[i].downFrom != 0 {
			away++
		}
	}
	return away, o.unsaved, o.dropped
}
