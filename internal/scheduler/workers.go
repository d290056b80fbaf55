package scheduler

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// concurrency is the maximum number of workers that hold a slot.
	concurrency = 1024
	// slotPatience is how long a worker keeps its slot while it fires one entry. Minting and
	// pushing take microseconds. A worker that needs longer is waiting for a slow client, and
	// gives up its slot so that it does not block others.
	slotPatience = 100 * time.Millisecond
	// checkAgain is the time between two checks of the workers' progress while entries are
	// due.
	checkAgain = 2 * time.Millisecond
	// fullSpeed is how many entries a worker fires within checkAgain if it does not wait for
	// slow clients.
	fullSpeed = 8
)

// workers fire the due entries. Each worker takes the most urgent entry out of the queue
// until none is due, so that one goroutine and its stack serve many entries. Run starts one
// worker for each CPU. While entries stay due, it checks the progress every checkAgain, and
// adds workers for the ones that wait for slow clients: it doubles them if they fired fewer
// than one entry each, and adds one for each CPU if they are below full speed.
type workers struct {
	slots   chan struct{}  // has one element for each worker that did not exceed slotPatience
	running sync.WaitGroup // all workers
	taken   atomic.Int64   // entries taken out of the queue so far

	// Only Run uses these.
	waiting bool          // at the last check there were more due entries than new workers
	again   time.Duration // the time of the next check, while waiting
	seen    int64         // value of taken at the last check
}

// startWorkers starts the workers that the due entries need, and returns when to check again.
func (s *Scheduler) startWorkers(ctx context.Context, now time.Duration) time.Duration {
	due, next := s.table.peek(now)
	w, more := &s.workers, 0
	taken, working := w.taken.Load(), len(w.slots)
	if due == 0 || working < cap(w.slots) || taken > w.seen { // else renewals have stalled
		s.health.noteRound(now)
	}
	switch {
	case !w.waiting || working == 0:
		more = runtime.GOMAXPROCS(0)
	case now < w.again: // table.wake woke Run: too early to measure the progress
		return w.again
	case taken-w.seen < int64(working):
		more = working
	case taken-w.seen < fullSpeed*int64(working):
		more = runtime.GOMAXPROCS(0)
	}
	more = min(more, due, cap(w.slots)-working)
	for range more {
		w.slots <- struct{}{} // has room: no other goroutine adds to it
		w.running.Go(func() { s.work(ctx) })
	}
	if w.waiting, w.seen, w.again = due > more, taken, now+checkAgain; w.waiting {
		return w.again
	}
	return next
}

// work fires entries until none is due. It ends early if firing one took longer than
// slotPatience, since its slot was freed then.
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
