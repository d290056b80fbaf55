package scheduler

import (
	"context"
	"sync"
	"time"

	"refresher/internal/store"
)

// Store keeps what must outlive this node. No push waits for it. Its methods
// are safe for concurrent use; see package store for what they mean.
type Store interface {
	// Acquire makes a node the owner of a session that it was shown the key
	// to. A *session.EndedError says that the key is no good any more; any
	// other error that the store cannot tell.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records, each by itself, by the rule of store.Resolve. There
	// is an outcome for each, also with an error, which says why some are
	// Retry.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and hands it what is overdue and whose
	// owner is gone; or only some of that, see store.Doing. The error says that
	// the lease was not renewed: nothing is handed over then.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch reports the sessions that other nodes take from this one, until
	// ctx is done or it cannot go on. Since connected was last called, none
	// was missed.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

const (
	// storeTimeout is how long the store may take for anything that nobody
	// waits for.
	storeTimeout = 3 * time.Second
	// flushTimeout is how long the last records may take when the node stops.
	flushTimeout = 3 * time.Second
)

// shards is a set of them.
type shards [store.Shards]bool

func allShards() *shards {
	var all shards
	for i := range all {
		all[i] = true
	}
	return &all
}

// keepStore keeps the store in step with the sessions until ctx is done: it
// writes what has changed, renews the node's lease, takes over what is overdue, and
// follows what other nodes take away. At the end it writes what is left and
// gives the lease up.
func (s *Scheduler) keepStore(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { s.write(ctx) })
	parts.Go(func() { s.sweep(ctx) })
	parts.Go(func() { s.watch(ctx) })
	parts.Wait()
	s.aside.Wait()
	s.writeLast()
	s.aside.Wait() // for what the last answers asked for
}

// writeLast writes what is left when the node stops, and gives its lease up, so
// that others may take over at once what is overdue.
func (s *Scheduler) writeLast() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	for ctx.Err() == nil {
		s.flush()
		at := s.outbox.next()
		if at == never {
			_, _ = s.config.Store.Sweep(ctx, s.config.Node, store.Leave) // the lease runs out by itself
			return
		}
		_ = pause(ctx, at-s.clock.now().Mono) // what is over time is told below
	}
	_, unwritten, _ := s.outbox.state()
	s.config.Logger.Warn("stopping with sessions that the store was not told of; their clients' keys still open them", "unwritten", unwritten)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
