package orders

import "sync"

// turn is held by whoever carries an order out. Those who wait get it in the order
// in which they came, but roll-overs, which look at all sessions, after all others.
type turn struct {
	mu      sync.Mutex
	taken   bool            // guarded by mu, as all else
	waiting []chan struct{} // closed when it is theirs
	rolling []chan struct{} // the same, of roll-overs
}

// take waits for the turn.
func (t *turn) take(rotation bool) {
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return
	}
	mine := make(chan struct{})
	if rotation {
		t.rolling = append(t.rolling, mine)
	} else {
		t.waiting = append(t.waiting, mine)
	}
	t.mu.Unlock()
	<-mine
}

// pass hands the turn on.
func (t *turn) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := &t.waiting
	if len(*from) == 0 {
		from = &t.rolling
	}
	if len(*from) == 0 {
		t.taken = false
		return
	}
	next := (*from)[0]
	if *from = (*from)[1:]; len(*from) == 0 {
		*from = nil
	}
	close(next)
}
