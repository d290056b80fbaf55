package session

import "time"

// Task is what the scheduler must do for a session at its deadline.
type Task uint8

const (
	// Wait means that the scheduler must do nothing, since the deadline has moved to a later time.
	Wait Task = iota
	// Renew means that the scheduler must mint a new bundle and push it.
	Renew
	// Repeat means that the scheduler must push the unconfirmed bundle once more.
	Repeat
	// CloseDead means that the scheduler must close the connection, because the client does not
	// answer.
	CloseDead
	// Unreachable means that the scheduler must report, once for each bundle, that the tokens of a
	// detached session are about to expire.
	Unreachable
	// TokensExpired means that the scheduler must count, once for each bundle, that the tokens of a
	// detached session have expired.
	TokensExpired
	// Expire means that the scheduler must end the session, because its terms or the resume window
	// have ended.
	Expire
	// Ask means that the scheduler must request your back end's approval of the next renewal.
	Ask
	// Deny means that the scheduler must end the session, because your back end did not answer in
	// the grace period.
	Deny
)

// never is the deadline of a session for which nothing needs to be done.
const never = time.Duration(1<<63 - 1)

// returnGrace is how long a client may be disconnected before its session is reported as
// unreachable.
const returnGrace = 10 * time.Second

// renewalDue returns when the next renewal is due, and its cause. The cause is CauseCertificate if
// a change of the node's certificate makes the renewal due before its scheduled time.
func (s *Session) renewalDue() (time.Duration, Cause) {
	at, cause := s.scheduledRenewal()
	if s.outdated() {
		if place := s.rotatesAt(); place < at {
			return place, CauseCertificate
		}
	}
	return at, cause
}

// scheduledRenewal returns when the next renewal is due and its cause, if the certificate has not
// changed. It returns the time `never` if no renewal was requested and new tokens could not expire
// later than the newest ones.
func (s *Session) scheduledRenewal() (time.Duration, Cause) {
	switch {
	case s.renewCause != "":
		return s.renewBy, s.renewCause
	case s.final():
		return never, CauseSchedule
	case s.renewBy != 0:
		return s.renewBy, CauseSchedule
	}
	before := s.RenewBefore()
	due := (s.issued.expires - before - Jitter(s.ID, before)).Truncate(tick)
	// Tokens expire at a whole second, so before this time new tokens would not expire later than the
	// newest ones. With tokens of 4 s or less, this time can be after `due`.
	return max(due, s.issued.expires-s.Terms.TTL+time.Second), CauseSchedule
}

// tick is the granularity of scheduled renewals. Their times are rounded down to a multiple of
// tick, so that the node wakes up once for all renewals within a tick. Measured at 1,300 renewals
// per second, this saves a quarter of the CPU time per renewal.
const tick = 50 * time.Millisecond

// Deadline returns when the session's next task is due, on the monotonic clock. Deadline computes
// the time from the session's state, so a session always has exactly one deadline. The scheduler
// calls Deadline after every change.
func (s *Session) Deadline() time.Duration {
	switch s.state {
	case Attached:
		d := never
		if p := s.pending; p != nil {
			if d = p.retry; p.refused {
				_, d = s.taskToMint(p.retry, s.issued.expires)
			}
			if !p.rejoin && s.held.known() {
				_, turns := s.taskToMint(s.held.expires, s.issued.expires)
				d = min(d, max(turns, s.held.expires))
			}
		} else if at, _ := s.renewalDue(); at != never {
			_, d = s.taskToMint(at, s.issued.expires)
		}
		if s.final() {
			d = min(d, s.issued.expires)
		}
		return max(d, s.notBefore)
	case Detached:
		switch {
		case !s.unreachable && !s.final():
			return s.unreachableAt()
		case !s.tokensExpired:
			return s.issued.expires
		}
		return s.windowEnds()
	default:
		return never
	}
}

// unreachableAt returns when a detached session is reported as unreachable. A client that renews
// over HTTP does so while more than RenewBefore is left until its tokens expire. So a client counts
// as unreachable when only three quarters of RenewBefore are left. A client that has lost its
// connection shortly before that time has up to returnGrace to reconnect.
func (s *Session) unreachableAt() time.Duration {
	grace := min(returnGrace, max(0, s.issued.expires-s.detachedAt)/2)
	return min(max(s.issued.expires-s.RenewBefore()*3/4, s.detachedAt+grace), s.issued.expires)
}

// windowEnds returns when a detached session expires: the end of its resume window.
func (s *Session) windowEnds() time.Duration {
	return max(s.detachedAt+s.policy.ResumeWindow, s.issued.expires)
}

// TakeTask returns the task that is due now, or Wait if the deadline is still ahead. It marks
// Unreachable and TokensExpired as reported, so that it returns each of them once for a bundle.
func (s *Session) TakeTask(now Instant) (Task, Cause) {
	if now.Mono < s.Deadline() {
		return Wait, ""
	}
	if s.final() && s.issued.expires <= now.Mono {
		return Expire, ""
	}
	if s.state == Detached {
		if !s.unreachable && !s.final() {
			s.unreachable = true
			return Unreachable, CauseSchedule
		}
		if !s.tokensExpired {
			s.tokensExpired = true
			return TokensExpired, ""
		}
		return Expire, ""
	}
	p := s.pending
	if p == nil {
		at, cause := s.renewalDue()
		return s.mintTask(at, cause, now)
	}
	if p.refused {
		if task, cause := s.mintTask(p.retry, p.cause, now); task != Wait {
			return task, cause
		}
	} else if p.retry <= now.Mono && s.silent >= SilentTries {
		return CloseDead, ""
	}
	if s.mustRejoin(now) {
		if task, cause := s.mintTask(s.held.expires, p.cause, now); task != Wait {
			return task, cause
		}
	}
	if p.refused || p.retry > now.Mono {
		return Wait, ""
	}
	return Repeat, ""
}

// mintTask returns the task for a bundle that must be minted at the time `due`: Renew (mint it),
// Ask (request approval), Deny (end the session), or Wait if it is too early for all of them.
func (s *Session) mintTask(due time.Duration, cause Cause, now Instant) (Task, Cause) {
	task, at := s.taskToMint(due, s.issued.expires)
	switch {
	case now.Mono < at:
		return Wait, ""
	case task == Renew && !s.Approved(now): // the node does this task late, and the grace period has ended meanwhile
		return Deny, cause
	}
	return task, cause
}
