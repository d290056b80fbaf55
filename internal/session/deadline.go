package session

import "time"

// Task is what a session's deadline asks for.
type Task uint8

const (
	// Wait: nothing yet; the deadline moved while it was being looked at.
	Wait Task = iota
	// Renew: mint a new bundle and push it.
	Renew
	// Repeat: push the unconfirmed bundle once more.
	Repeat
	// GiveUp: nothing came back; close the connection as dead.
	GiveUp
	// Unreachable: the tokens of a session that nobody is connected to are
	// about to run out. Report it, once for each bundle.
	Unreachable
	// RunOut: the tokens of a session that nobody is connected to are dead.
	// Count it, once.
	RunOut
	// Expire: the session is over, by its terms or because nobody came back.
	Expire
	// Ask the customer's back end whether to go on, ahead of a renewal.
	Ask
	// Deny: it could not be asked for too long.
	Deny
)

// never is a deadline that does not come.
const never = time.Duration(1<<63 - 1)

// returnGrace is how long a client may be away before that is worth a report.
const returnGrace = 10 * time.Second

// due is when and why the newest bundle is to be renewed: as scheduled, or sooner
// because the node signs with another certificate.
func (s *Session) due() (time.Duration, Cause) {
	at, cause := s.scheduled()
	if s.outdated() {
		if place := s.rotatesAt(); place < at {
			return place, CauseCertificate
		}
	}
	return at, cause
}

// scheduled is when and why the newest bundle is to be renewed, whoever signed it:
// never, if no later expiry can be given and nothing else asks for new tokens.
func (s *Session) scheduled() (time.Duration, Cause) {
	switch {
	case s.renewCause != "":
		return s.renewBy, s.renewCause
	case s.final():
		return never, CauseSchedule
	case s.renewBy != 0:
		return s.renewBy, CauseSchedule
	}
	before := s.RenewBefore()
	return s.issued.expires - before - jitter(s.ID, before), CauseSchedule
}

// Deadline is the monotonic moment at which the session next needs attention.
// It follows from the state alone, so there is always exactly one; after every
// change the scheduler asks for it anew.
func (s *Session) Deadline() time.Duration {
	switch s.state {
	case Attached:
		d := never
		if p := s.pending; p != nil {
			if d = p.retry; p.refused {
				_, d = s.agreed(p.retry, s.issued.expires)
			}
			if !p.rejoin && s.held.known() {
				_, turns := s.agreed(s.held.expires, s.issued.expires)
				d = min(d, max(turns, s.held.expires))
			}
		} else if at, _ := s.due(); at != never {
			_, d = s.agreed(at, s.issued.expires)
		}
		if s.final() {
			d = min(d, s.issued.expires)
		}
		return max(d, s.notBefore)
	case Detached:
		switch {
		case !s.missed && !s.final():
			return s.missedAt()
		case !s.ranOut:
			return s.issued.expires
		}
		return s.windowEnds()
	default:
		return never
	}
}

// missedAt is when a renewal is overdue that nobody is there for: a quarter of
// the head start after its latest moment, since a client that renews over HTTP
// asks then, and not before a connection that was lost just now had time to come
// back.
func (s *Session) missedAt() time.Duration {
	grace := min(returnGrace, max(0, s.issued.expires-s.detachedAt)/2)
	return min(max(s.issued.expires-s.RenewBefore()*3/4, s.detachedAt+grace), s.issued.expires)
}

// windowEnds is when a session that nobody came back to is over.
func (s *Session) windowEnds() time.Duration {
	return max(s.detachedAt+s.policy.ResumeWindow, s.issued.expires)
}

// Due says what the deadline asks for, once it has come.
func (s *Session) Due(now Instant) (Task, Cause) {
	if now.Mono < s.Deadline() {
		return Wait, ""
	}
	if s.final() && s.issued.expires <= now.Mono {
		return Expire, ""
	}
	if s.state == Detached {
		if !s.missed && !s.final() {
			s.missed = true
			return Unreachable, CauseSchedule
		}
		if !s.ranOut {
			s.ranOut = true
			return RunOut, ""
		}
		return Expire, ""
	}
	p := s.pending
	if p == nil {
		at, cause := s.due()
		return s.mint(at, cause, now)
	}
	if p.refused {
		if task, cause := s.mint(p.retry, p.cause, now); task != Wait {
			return task, cause
		}
	} else if p.retry <= now.Mono && s.silent >= SilentTries {
		return GiveUp, ""
	}
	if s.turned(now) {
		if task, cause := s.mint(s.held.expires, p.cause, now); task != Wait {
			return task, cause
		}
	}
	if p.refused || p.retry > now.Mono {
		return Wait, ""
	}
	return Repeat, ""
}

// mint is what to do now about a bundle that is to be minted at due.
func (s *Session) mint(due time.Duration, cause Cause, now Instant) (Task, Cause) {
	task, at := s.agreed(due, s.issued.expires)
	switch {
	case now.Mono < at:
		return Wait, ""
	case task == Renew && !s.Agreed(now): // it was to be by now, and the node was late
		return Deny, cause
	}
	return task, cause
}
