package cluster

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/store"
)

// gatherFor is the minimum time for which a record waits, so that more records share a batch.
const gatherFor = 100 * time.Millisecond

// write saves the records that wait in the write-behind queue as they become due, until ctx is done.
func (c *Cluster) write(ctx context.Context) {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-c.pending.wake:
		case <-alarm.C:
		case <-ctx.Done():
			return
		}
		for more := true; more && ctx.Err() == nil; {
			more = c.flush()
		}
		alarm.Reset(c.pending.next() - c.now())
	}
}

// flush saves one batch of the due records and passes the store's answers to their writers. It
// reports whether more records are due.
func (c *Cluster) flush() bool {
	batch, more := c.pending.dequeue(c.now())
	if len(batch) == 0 {
		return false
	}
	records := make([]store.Record, len(batch))
	for i, p := range batch {
		records[i] = *p.record
	}
	// This context does not end when the node stops, since that would interrupt a batch.
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	ctx, span := traceBatch(ctx, batch)
	outcomes, err := c.config.Store.Save(ctx, records)
	endSpan(span, err)
	var reached, failed store.ShardSet
	for i := range batch {
		p, shard := &batch[i], store.ShardOf(batch[i].record.Session)
		if outcomes[i].Action == store.Retry {
			failed[shard] = true
			c.pending.requeue(*p)
			continue
		}
		reached[shard] = true
		c.acknowledge(p, &outcomes[i])
	}
	back := c.noteStoreAnswer(&reached, &failed, err)
	c.node.SaveAllAgain(&back) // a shard that was down may have lost its data, so the node saves all sessions of the shard again
	return more
}

// acknowledge passes the store's answer to the writer of a record.
func (c *Cluster) acknowledge(p *pendingRecord, o *store.Outcome) {
	p.endSpan()
	if *o == (store.Outcome{Action: store.Done}) {
		p.writer.Acknowledge(p.record, *o)
	} else { // Acknowledge runs in a goroutine, since the writer may have to wait for a slow client
		c.answers.Go(func() { p.writer.Acknowledge(p.record, *o) })
	}
}

// beginSpan begins a child of the span in ctx. It returns nil if the parent or the child is not
// recorded.
func beginSpan(ctx context.Context, name string) trace.Span {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return nil
	}
	_, span := parent.TracerProvider().Tracer("refresher/internal/cluster").Start(ctx, name)
	if !span.IsRecording() { // a sampler can decide to record the parent without its children
		return nil
	}
	return span
}

// traceBatch begins the span of a batch. Its parent is the span of the first traced record; the
// spans of the other records get a link to it.
func traceBatch(ctx context.Context, batch []pendingRecord) (context.Context, trace.Span) {
	first := slices.IndexFunc(batch, func(p pendingRecord) bool { return p.span != nil })
	if first < 0 {
		return ctx, nil
	}
	save := beginSpan(trace.ContextWithSpan(ctx, batch[first].span), "save")
	for _, p := range batch[first+1:] {
		if p.span != nil {
			p.span.AddLink(trace.Link{SpanContext: save.SpanContext()})
		}
	}
	return trace.ContextWithSpan(ctx, save), save
}

func (p *pendingRecord) endSpan() { endSpan(p.span, nil) }

// endSpan ends a span and records the error. The span and the error may be nil.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
