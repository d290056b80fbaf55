package scheduler

import "sync"

// lock is a mutex with deferred work: its holder does, after letting go, what others
// have handed to Do meanwhile. A session can be held for as long as a slow client takes to
// be written to, and most of those who change it must not wait for that.
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

// catchUp does the deferred work, unless somebody holds the lock and will.
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
