package scheduler

import "sync"

// lock is a mutex with deferred work: functions that were passed to Do while it was held are
// called by its holder in Unlock. A session's lock is held while a message is written to the
// client, which may be slow, and most code that changes a session must not wait for that.
type lock struct {
	mu       sync.Mutex
	listMu   sync.Mutex
	deferred []func() // guarded by listMu
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
	l.listMu.Lock()
	l.deferred = append(l.deferred, f)
	l.listMu.Unlock()
	l.catchUp()
}

// catchUp does the deferred work, unless the lock is held: then its holder does the work.
func (l *lock) catchUp() {
	for l.hasDeferred() && l.mu.TryLock() {
		l.listMu.Lock()
		work := l.deferred
		l.deferred = nil
		l.listMu.Unlock()
		for _, f := range work {
			f()
		}
		l.mu.Unlock()
	}
}

func (l *lock) hasDeferred() bool {
	l.listMu.Lock()
	defer l.listMu.Unlock()
	return len(l.deferred) > 0
}
