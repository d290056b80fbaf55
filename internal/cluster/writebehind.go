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
	// maxEnded bounds the waiting records of ended sessions while the store is down (about
	// 600 MB). Records of open sessions need no bound, since the sessions are limited.
	maxEnded = 1_000_000
	// roomKept is the size up to which an empty map is reused. A larger one is replaced, to
	// free its memory.
	roomKept = 1 << 12
)

// writeBehind holds the records that are not saved yet: for each writer the newest one. It is
// safe for concurrent use. Its lock is a leaf.
type writeBehind struct {
	wake chan struct{} // tells Cluster.write that its alarm is too late

	mu      sync.Mutex
	records map[store.Writer]pendingRecord
	shards  [store.Shards]shardQueue
	allBy   time.Duration // when the first record that was enqueued with a long within is due, and all shards with it; never: there is none
	alarm   time.Duration // when Cluster.write next flushes without being woken
	ended   int           // number of records of ended sessions
	most    int           // the largest size that the map has had
	dropped uint64        // records refused because of maxEnded
}

// pendingRecord is a record on its way to the store.
type pendingRecord struct {
	writer store.Writer
	record *store.Record
	span   trace.Span // ends when it is saved; nil: it is not traced
}

// shardQueue is the queue of pending records of one shard. Shards are retried separately,
// since one can be down while others are not.
type shardQueue struct {
	writers  []store.Writer // of the pending records, the oldest first
	by       time.Duration  // when the records are due, unless allBy is earlier
	failures int            // number of consecutive failed writes
	retryAt  time.Duration  // no record is due before this, after a failure
	downFrom time.Duration  // when the first of these writes failed; 0 if the shard is not down
}

// Enqueue adds a session's record to the write-behind, replacing an older record of the same
// writer that waits there. The record is saved with the next batch of its shard, or after
// within, together with the records of all shards. Enqueue returns false if the session has
// ended and too many records of ended sessions wait. ctx is for the trace.
func (c *Cluster) Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool {
	return c.pending.enqueue(pendingRecord{w, r, beginSpan(ctx, "record")}, c.now(), within)
}

// enqueue adds a record, or replaces an older one of its writer.
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

// dequeue removes and returns a batch of due records, with up to shardBatch of each shard. It
// reports whether more are due. It locks b for one shard at a time, so that commits, which
// enqueue, do not wait long.
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

// allDue reports whether allBy has come, which makes the records of all shards due.
func (b *writeBehind) allDue(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.allBy <= now
}

// makeAllDue makes all waiting records due.
func (b *writeBehind) makeAllDue() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allBy = never
	for i := range b.shards {
		b.shards[i].by = 0
	}
}

// dequeueShard appends up to shardBatch due records of a shard to batch. It reports whether
// more of the shard are due.
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

// next returns when the next record is due; never if none waits. If enqueue adds an earlier
// one, it wakes Cluster.write.
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

// noteAnswers records which shards were reached and which failed. It returns the shards that
// are reachable again, the number of shards that are down, and the longest time that one of
// the returned shards was down.
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

// shardUp reports whether the last attempt to reach the shard of a session succeeded.
func (b *writeBehind) shardUp(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shards[store.ShardOf(id)].downFrom == 0
}

// state returns the number of shards that are down, of records that wait, and of records that
// were dropped.
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
