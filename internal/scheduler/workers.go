package scheduler

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// concurrency is how many entries may be fired at once.
	concurrency = 1024
	// slotPatience is how long a worker keeps its slot while it fires one entry. Minting and
	// pushing take microseconds; one that takes longer waits for a slow client, which must not
	// block others.
	slotPatience = 100 * time.Millisecond
	// lookAgain is the time between two looks at the workers while entries are due.
	lookAgain = 2 * time.Millisecond
	// brisk is how many entries a worker fires in that time if it does not wait for clients.
	brisk = 8
)

// workers fire the entries that are due. Each takes the most urgent one out of the queue,
// again and again until none is due, so that the order holds, and its goroutine and stack
// serve many entries. There is one for each processor. At each look that finds entries due,
// workers that wait for slow clients get more beside them: as many again if they have come
// to a stop, and one for each processor if they are not brisk.
type workers struct {
	slots   chan struct{}  // has one element for each worker that did not exceed slotPatience
	running sync.WaitGroup // all of them
	taken   atomic.Int64   // entries taken out of the queue so far

	waiting bool          // at the last look there were more entries than new workers; Run's own
	again   time.Duration // when Run looks again, while waiting; Run's own
	seen    int64         // taken, at the last look; Run's own
}

// startWorkers starts the workers that the due entries need, and returns when to look again.
func (s *Scheduler) startWorkers(ctx context.Context, now time.Duration) time.Duration {
	due, next := s.table.peek(now)
	w, more := &s.workers, 0
	taken, working := w.taken.Load(), len(w.slots)
	if due == 0 || working < cap(w.slots) || taken > w.seen { // else renewals stand still
		s.health.noteRound(now)
	}
	switch {
	case !w.waiting || working == 0:
		more = runtime.GOMAXPROCS(0)
	case now < w.again: // table.wake woke Run: too early to tell how brisk they are
		return w.again
	case taken-w.seen < int64(working):
		more = working
	case taken-w.seen < brisk*int64(working):
		more = runtime.GOMAXPROCS(0)
	}
	more = min(more, due, cap(w.slots)-working)
	for range more {
		w.slots <- struct{}{} // has room: no other goroutine adds to it
		w.running.Go(func() { s.work(ctx) })
	}
	if w.waiting, w.seen, w.again = due > more, taken, now+lookAgain; w.waiting {
		return w.again
	}
	return next
}

// work fires entries until none is due. It ends early if firing one took longer than
// slotPatience: its slot is another's then.
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
