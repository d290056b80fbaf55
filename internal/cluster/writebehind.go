package cluster

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/store"
)

const (
	// shardBatch is the maximum number of one shard's records in a batch.
	shardBatch = 64
	// minRetry and maxRetry bound the pause between a failed write to a shard and the next
	// one.
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second
	// maxEnded limits the records of ended sessions that wait while the store is down. A
	// million of them take about 600 MB. Records of open sessions need no such limit, since
	// the number of open sessions is limited.
	maxEnded = 1_000_000
	// roomKept limits the memory that an empty write-behind keeps. A Go map does not shrink, so
	// a map that is empty and once had more than roomKept records is replaced by a new map.
	roomKept = 1 << 12
)

// writeBehind holds the records that are not saved yet: the newest one of each writer. It is safe
// for concurrent use. No other lock is taken while its lock is held.
type writeBehind struct {
	wake chan struct{} // wakes Cluster.write if a record is due before its alarm

	mu      sync.Mutex
	records map[store.Writer]pendingRecord
	shards  [store.Shards]shardQueue
	// allBy is when the records of all shards become due, so that they share a batch; `never` if no
	// such time is set. Most records become due sooner, when gatherFor has passed since their change.
	// Each of the others has its own, later time limit, and allBy is the earliest of these limits.
	allBy   time.Duration
	alarm   time.Duration // when Cluster.write flushes next, unless the channel `wake` makes it flush earlier
	ended   int
	most    int    // the largest size that the map `records` has had
	dropped uint64 // number of records that were refused because of maxEnded
}

// pendingRecord is a record that waits to be saved.
type pendingRecord struct {
	writer store.Writer
	record *store.Record
	span   trace.Span // ends when the record is saved; nil if the record is not traced
}

// shardQueue holds the pending records of one shard. Each shard is retried separately, since one
// shard can be down while the other shards are not.
type shardQueue struct {
	writers  []store.Writer // writers of the pending records; the writer that has waited longest is first
	by       time.Duration  // when the records of this shard are due, unless the time writeBehind.allBy is earlier
	failures int            // number of consecutive failed writes
	retryAt  time.Duration  // earliest time of the next write after a failed one
	downFrom time.Duration  // when the first of the consecutive failed writes was; 0 if the shard is not down
}

// Enqueue adds a session's record to the write-behind. It replaces a waiting record of the same
// writer. The record may wait for the duration `within`, or until the next batch of its shard, so
// that more records share a batch. Enqueue returns false if the session has ended and too many
// records of ended sessions wait. ctx is used for the trace only.
func (c *Cluster) Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool {
	return c.pending.enqueue(pendingRecord{w, r, beginSpan(ctx, "record")}, c.now(), within)
}

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
			old.endSpan() // the older record is never saved, so its trace ends here
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

// requeue puts back a record that could not be saved, unless a newer record of the same writer
// waits. The record becomes due when its shard is tried again.
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

// append adds a writer to its shard's queue. The caller holds b.mu.
func (b *writeBehind) append(q *shardQueue, w store.Writer) {
	if len(q.writers) == 0 {
		q.by = never
	}
	q.writers = append(q.writers, w)
	b.most = max(b.most, len(b.records)+1)
}

// countEnd adds n to b.ended if r is the record of an ended session. The caller holds b.mu.
func (b *writeBehind) countEnd(r *store.Record, n int) {
	if r.HasEnded() {
		b.ended += n
	}
}

// dequeue removes and returns a batch of due records, up to shardBatch from each shard. It reports
// whether more records are due. It locks b for one shard at a time, so that callers of Enqueue wait
// only briefly.
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

// allDue reports whether the records of all shards are due, because the time allBy has passed.
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

// dequeueShard appends up to shardBatch due records of a shard to batch. It reports whether the
// shard has more due records.
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
		q.writers = nil // after a reconnect storm, this frees the queue's memory
	}
	if len(b.records) == 0 && b.most > roomKept {
		b.records, b.most = make(map[store.Writer]pendingRecord), 0
	}
	return batch, rest > 0
}

// next returns when the next record is due, or the time `never` if no record waits. It also sets
// b.alarm to that time, so that an Enqueue with an earlier due time wakes Cluster.write.
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

// noteAnswers records which shards were reached and which failed. It returns the shards that are
// reachable again (`back`), how many shards are down, and the longest time for which a shard in
// `back` was down.
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

// state returns the numbers of shards that are down, of waiting records, and of dropped
// records.
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
