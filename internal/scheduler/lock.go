package scheduler

import (
	"sync"
	"sync/atomic"
)

// lock is a mutex that can also defer work. If it is held, Do queues its function, and the holder
// calls the function when it unlocks. A session's lock is held while a message is written to its
// client, which may be slow, and code that handles many sessions must not wait for that client.
type lock struct {
	mu sync.Mutex
	// deferred is a stack with the newest work on top.
	deferred atomic.Pointer[work]
}

// work is one function that was passed to Do.
type work struct {
	f      func()
	before *work
}

// Lock takes the lock.
func (l *lock) Lock() { l.mu.Lock() }

// TryLock takes the lock if it is free.
func (l *lock) TryLock() bool { return l.mu.TryLock() }

// Unlock releases the lock and then runs the deferred work.
func (l *lock) Unlock() {
	l.mu.Unlock()
	l.runDeferred()
}

// Do calls f with the lock held: at once if the lock is free, otherwise when its holder unlocks it.
// Do never waits for the lock. Deferred functions run in the order of their calls of Do.
func (l *lock) Do(f func()) {
	w := &work{f: f, before: l.deferred.Load()}
	for !l.deferred.CompareAndSwap(w.before, w) {
		w.before = l.deferred.Load()
	}
	l.runDeferred()
}

// runDeferred runs the deferred work. If the lock is held, its holder will run the work.
func (l *lock) runDeferred() {
	for l.deferred.Load() != nil && l.mu.TryLock() {
		var oldest *work
		for w := l.deferred.Swap(nil); w != nil; { // reverses the stack, so that the oldest work runs first
			w.before, oldest, w = oldest, w, w.before
		}
		for w := oldest; w != nil; w = w.before {
			w.f()
		}
		l.mu.Unlock()
	}
}
