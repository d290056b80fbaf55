package cluster

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/store"
)

const (
	// shardBatch is how many records of one shard are saved at once.
	shardBatch = 64
	// minRetry and maxRetry bound the wait before a shard that could not be written is tried
	// again.
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second
	// maxEnded bounds the records of ended sessions that wait while the store is down (some
	// 600 MB). Those of open sessions are as many as the sessions at most.
	maxEnded = 1_000_000
	// roomKept is how many records a map may have held for its memory to be kept once it is
	// empty.
	roomKept = 1 << 12
)

// writeBehind holds the records that are not saved yet, at most one for each writer, the
// newest. It is safe for concurrent use. Its lock is a leaf.
type writeBehind struct {
	wake chan struct{} // tells Cluster.write that its alarm is too late

	mu      sync.Mutex
	records map[store.Writer]pendingRecord
	shards  [store.Shards]shardQueue
	allBy   time.Duration // when the first of the records that may gather is due, and all shards with it; never: none gathers
	alarm   time.Duration // when Cluster.write looks again by itself
	ended   int           // how many are records of ended sessions
	most    int           // the most records that the map has held
	dropped uint64        // records refused because of maxEnded
}

// pendingRecord is a record on its way to the store.
type pendingRecord struct {
	writer store.Writer
	record *store.Record
	span   trace.Span // ends when it is saved; nil: it is not traced
}

// shardQueue has the pending records of one shard, which may be down while others are not.
type shardQueue struct {
	writers  []store.Writer // of the records that wait, the oldest first
	by       time.Duration  // when they are due, unless allBy is earlier
	failures int            // writes that failed in a row
	retryAt  time.Duration  // no record is due before
	downFrom time.Duration  // when the first of these failed; 0 if the shard is not down
}

// Enqueue has a session's record saved soon, in place of an older one of the same writer
// that still waits. within is how long it may gather with others: it goes with the first
// record of its shard that is due, or with all shards' records when its own time has come.
// Enqueue returns false if the record is that of an end, and too many of those wait. ctx is
// for the trace.
func (c *Cluster) Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool {
	return c.pending.enqueue(pendingRecord{w, r, beginSpan(ctx, "record")}, c.now(), within)
}

// put adds a record, in place of an older one of its writer.
func (b *writeBehind) enqueue(p pendingRecord, now, within time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.record.HasEnded() && b.ended >= maxEnded {
		b.dropped++
		p.endSpan()
		return false
	}
	q := &b.shards[store.ShardOf(p.record.Session)]
	if old, waits := b.records[p.writer]; waits {
		b.countEnd(old.record, -1)
		if p.span == nil {
			p.span = old.span
		} else {
			old.endSpan() // only the newer record is traced, since it replaces the older one
		}
	} else {
		b.append(q, p.writer)
	}
	b.records[p.writer] = p
	b.countEnd(p.record, 1)
	by := now + max(within, gatherFor)
	if within > gatherFor {
		b.allBy = min(b.allBy, by)
	} else {
		q.by = min(q.by, by)
	}
	if at := max(by, q.retryAt); at < b.alarm {
		b.alarm = at
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// requeue adds a record that could not be saved, unless a newer one of its writer waits. It
// is due when its shard is tried again.
func (b *writeBehind) requeue(p pendingRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.shards[store.ShardOf(p.record.Session)]
	if _, waits := b.records[p.writer]; waits {
		p.endSpan()
	} else {
		b.append(q, p.writer)
		b.records[p.writer] = p
		b.countEnd(p.record, 1)
	}
	q.by = 0
}

// append adds a writer to its shard's queue. b.mu is held.
func (b *writeBehind) append(q *shardQueue, w store.Writer) {
	if len(q.writers) == 0 {
		q.by = never
	}
	q.writers = append(q.writers, w)
	b.most = max(b.most, len(b.records)+1)
}

// countEnd adds n to b.ended if r is the record of an end. b.mu is held.
func (b *writeBehind) countEnd(r *store.Record, n int) {
	if r.HasEnded() {
		b.ended += n
	}
}

// take removes and returns a batch of the records of each shard that are due, and reports
// whether they have more. It locks b for one shard at a time, since commits wait for it.
func (b *writeBehind) dequeue(now time.Duration) (batch []pendingRecord, more bool) {
	if b.allDue(now) {
		b.makeAllDue()
	}
	for i := range b.shards {
		var rest bool
		batch, rest = b.dequeueShard(&b.shards[i], now, batch)
		more = more || rest
	}
	return batch, more
}

// allDue reports whether the records of all shards are due.
func (b *writeBehind) allDue(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.allBy <= now
}

// makeAllDue makes all records due that wait now.
func (b *writeBehind) makeAllDue() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allBy = never
	for i := range b.shards {
		b.shards[i].by = 0
	}
}

// dequeueShard appends the records of a shard that are due to batch, shardBatch at most. It
// reports whether the shard has more that are due.
func (b *writeBehind) dequeueShard(q *shardQueue, now time.Duration, batch []pendingRecord) (_ []pendingRecord, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if max(q.by, q.retryAt) > now {
		return batch, false
	}
	n := min(len(q.writers), shardBatch)
	for _, w := range q.writers[:n] {
		p := b.records[w]
		delete(b.records, w)
		b.countEnd(p.record, -1)
		batch = append(batch, p)
	}
	rest := copy(q.writers, q.writers[n:])
	clear(q.writers[rest:])
	if q.writers = q.writers[:rest]; rest == 0 && cap(q.writers) > shardBatch {
		q.writers = nil // frees the memory that a reconnect storm took
	}
	if len(b.records) == 0 && b.most > roomKept {
		b.records, b.most = make(map[store.Writer]pendingRecord), 0
	}
	return batch, rest > 0
}

// next returns when take will next return records; never if none wait. Enqueue wakes
// Cluster.write if that changes to an earlier time.
func (b *writeBehind) next() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alarm = never
	for i := range b.shards {
		if q := &b.shards[i]; len(q.writers) > 0 {
			b.alarm = min(b.alarm, max(q.retryAt, min(q.by, b.allBy)))
		}
	}
	return b.alarm
}

// answered notes which shards were reached and which failed. It returns the shards that are
// back after they were down, how many are still down, and the longest time that one of
// those back was down.
func (b *writeBehind) noteAnswers(reached, failed *store.ShardSet, now time.Duration) (back store.ShardSet, away int, since time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.shards {
		q := &b.shards[i]
		switch {
		case failed[i]:
			q.retryAt = now + min(maxRetry, minRetry<<min(q.failures, 10))
			q.failures++
			if q.downFrom == 0 {
				q.downFrom = max(1, now)
			}
		case reached[i]:
			if back[i] = q.downFrom != 0; back[i] {
				since = max(since, now-q.downFrom)
			}
			q.failures, q.retryAt, q.downFrom = 0, 0, 0
		}
		if q.downFrom != 0 {
			away++
		}
	}
	return back, away, since
}

// reaches reports whether the shard of a session was reached when it was last tried.
func (b *writeBehind) shardUp(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shards[store.ShardOf(id)].downFrom == 0
}

// state returns how many shards are down, how many records wait, and how many were dropped.
func (b *writeBehind) state() (away, waiting int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.shards {
		if b.shards[i].downFrom != 0 {
			away++
		}
	}
	return away, len(b.records), b.dropped
}
