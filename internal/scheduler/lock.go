package scheduler

import (
	"sync"
	"sync/atomic"
)

// lock is a mutex with deferred work: functions that were passed to Do while it was held are
// called by its holder in Unlock. A session's lock is held while a message is written to the
// client, which may be slow, and most code that changes a session must not wait for that.
type lock struct {
	mu       sync.Mutex
	deferred atomic.Pointer[work] // the newest; each points to the one before
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

// Unlock releases the lock, and does the deferred work.
func (l *lock) Unlock() {
	l.mu.Unlock()
	l.catchUp()
}

// Do calls f with the lock held: now, or when its holder lets go, in the order of the
// calls. It does not wait for that.
func (l *lock) Do(f func()) {
	w := &work{f: f, before: l.deferred.Load()}
	for !l.deferred.CompareAndSwap(w.before, w) {
		w.before = l.deferred.Load()
	}
	l.catchUp()
}

// catchUp does the deferred work, unless the lock is held: then its holder does the work.
func (l *lock) catchUp() {
	for l.deferred.Load() != nil && l.mu.TryLock() {
		var oldest *work
		for w := l.deferred.Swap(nil); w != nil; { // turns the list round
			w.before, oldest, w = oldest, w, w.before
		}
		for w := oldest; w != nil; w = w.before {
			w.f()
		}
		l.mu.Unlock()
	}
}
