package scheduler

import (
	"context"
	"time"

	"refresher/internal/store"
)

const (
	// gatherFor is how long records wait for others to be written with.
	gatherFor = 100 * time.Millisecond
)

// write writes what has changed, as it changes.
func (s *Scheduler) write(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-s.outbox.wake:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if pause(ctx, gatherFor) != nil {
			return
		}
		for more := true; more && ctx.Err() == nil; {
			more = s.flush()
		}
		if at := s.outbox.next(); at != never {
			retry.Reset(at - s.clock.now().Mono)
		}
	}
}

// flush writes one batch, and reports whether there was more than fits into one.
func (s *Scheduler) flush() bool {
	letters, more := s.outbox.take(s.clock.now().Mono)
	if len(letters) == 0 {
		return false
	}
	records := make([]store.Record, len(letters))
	for i, l := range letters {
		records[i] = *l.record
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout) // a batch that is cut off would be written twice
	defer cancel()
	ctx, span := s.traceBatch(ctx, letters)
	outcomes, err := s.config.Store.Save(ctx, records)
	endSpan(span, err)
	var reached, failed shards
	for i, l := range letters {
		shard := store.ShardOf(l.entry.id)
		if outcomes[i].Action == store.Retry {
			failed[shard] = true
			s.outbox.giveBack(l)
			continue
		}
		reached[shard] = true
		s.settle(l, outcomes[i])
	}
	back := s.storeAnswered(&reached, &failed, err)
	s.rewrite(&back)
	return more
}

// settle does what the store's answer to one record asks for.
func (s *Scheduler) settle(l letter, o store.Outcome) {
	l.recorded()
	switch o.Action {
	case store.Done:
		if o.Wish.Version > 0 {
			s.aside.Go(func() { s.overtaken(l, o.Wish) }) // it may have to write to a client
		}
		if l.record.HasEnded() && l.record.Delivered.Has(store.DeliveredEnd) {
			s.forgetEnding(l.entry) // the store answers for it now
		}
	case store.CloseSuperseded, store.Release, store.EndSession:
		s.aside.Go(func() { s.do(l.entry, func() { s.lose(l, o) }) }) // it may have to write to a client
	case store.FinishEnd:
		s.aside.Go(func() { s.finishEnd(l, o.Ending.Reason) })
	case store.RaiseEpoch:
		s.behind(l.entry, o.Epoch)
	case store.LeaveAlone:
		if l.record.HasEnded() {
			s.forgetEnding(l.entry)
		}
	case store.Retry: // given back
	}
}
