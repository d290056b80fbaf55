package events

import "time"

// drop is an event that was given up.
type drop struct {
	entry *entry
	cause string
}

// The causes of a drop, as the log has them.
const (
	queueFull = "queue full"
	tooOld    = "too old"
	gone      = "410 Gone"
)

// drop gives e up. s.mu is held; report does the rest.
func (s *Sender) drop(e *entry, cause string) {
	s.queue.remove(e)
	s.drops = append(s.drops, drop{e, cause})
	signal(s.dropped)
}

// report tells what became of dropped events, in a goroutine of its own: the
// caller of Send may hold a lock that settled takes. It returns after stop, when
// all are told.
func (s *Sender) report(stop <-chan struct{}) {
	for stopping := false; ; {
		s.mu.Lock()
		drops := s.drops
		s.drops = nil
		s.mu.Unlock()
		for _, d := range drops {
			s.giveUp(d.entry, d.cause)
		}
		if stopping {
			return
		}
		select {
		case <-s.dropped:
		case <-stop:
			stopping = true
		}
	}
}

// giveUp tells that e was dropped.
func (s *Sender) giveUp(e *entry, cause string) {
	s.metrics.dropped(e.kind)
	s.log.dropped(time.Now(), e, cause)
	e.settled(false)
}
