package scheduler

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// concurrency is the maximum number of workers. It does not count workers that wait for a slow
	// client for longer than slotPatience.
	concurrency = 1024
	// slotPatience is how long a worker may take for one entry. Minting and pushing take microseconds,
	// so a worker that needs longer waits for a slow client. The worker then no longer counts towards
	// concurrency: it gives up its slot, so that another worker can start.
	slotPatience = 100 * time.Millisecond
	// checkAgain is the time between two checks of the workers' progress while entries are
	// due.
	checkAgain = 2 * time.Millisecond
	// fullSpeed is the number of entries that a worker is expected to handle within checkAgain, if no
	// client is slow.
	fullSpeed = 8
)

// workers do the tasks of the due entries. Each worker takes the most urgent entry out of the
// queue, calls its method fire, and takes the next entry until none is due. So one goroutine and
// its stack serve many entries. Run starts one worker for each CPU. While entries stay due, Run
// checks every checkAgain how many entries were handled, since workers may be waiting for slow
// clients. If they were fewer than one for each worker, Run doubles the workers. If they were fewer
// than fullSpeed for each worker, Run adds one worker for each CPU.
type workers struct {
	// slots contains one element for each worker that has not exceeded slotPatience.
	slots   chan struct{}
	running sync.WaitGroup
	// taken is the number of entries that were taken out of the queue so far.
	taken atomic.Int64

	// Only Run uses the fields below. waiting is true if there were more due entries than new workers
	// at the last check. Then `again` is the time of the next check. seen is the value of taken at
	// the last check.
	waiting bool
	again   time.Duration
	seen    int64
}

// startWorkers starts the workers that the due entries need. It returns when to check again.
func (s *Scheduler) startWorkers(ctx context.Context, now time.Duration) time.Duration {
	due, next := s.table.peek(now)
	w, more := &s.workers, 0
	taken, working := w.taken.Load(), len(w.slots)
	// Renewals have stalled if entries are due, all workers are busy, and no worker has taken an entry since
	// the last check: then all workers wait for slow clients. In all other cases the round counts as progress.
	if due == 0 || working < cap(w.slots) || taken > w.seen {
		s.health.noteRound(now)
	}
	switch {
	case !w.waiting || working == 0:
		more = runtime.GOMAXPROCS(0)
	case now < w.again: // table.wake woke Run before the next check was due
		return w.again
	case taken-w.seen < int64(working):
		more = working
	case taken-w.seen < fullSpeed*int64(working):
		more = runtime.GOMAXPROCS(0)
	}
	more = min(more, due, cap(w.slots)-working)
	for range more {
		w.slots <- struct{}{} // does not block: slots has room for `more` elements, and no other goroutine adds any
		w.running.Go(func() { s.work(ctx) })
	}
	if w.waiting, w.seen, w.again = due > more, taken, now+checkAgain; w.waiting {
		return w.again
	}
	return next
}

// work handles due entries until none is due. It returns earlier if one entry took longer than
// slotPatience, since the worker has given up its slot by then.
func (s *Scheduler) work(ctx context.Context) {
	free := func() { <-s.workers.slots }
	patience := time.AfterFunc(slotPatience, free)
	for ctx.Err() == nil {
		e := s.table.next(s.clock.now().Mono)
		if e == nil {
			break
		}
		s.workers.taken.Add(1)
		e.fire()
		if !patience.Stop() {
			return
		}
		patience.Reset(slotPatience)
	}
	if patience.Stop() {
		free()
	}
}
