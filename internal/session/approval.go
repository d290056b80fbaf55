package session

import "time"

// Action is what a client, or the node for it, is about to do, and what the customer's
// back end is asked about.
type Action string

const (
	ActionJoin   Action = "join"   // open a session
	ActionResume Action = "resume" // come back to it
	ActionRenew  Action = "renew"  // go on with it, with new tokens
)

// approval is what the customer's back end has said of the session, where it is asked
// (Policy.AskAhead). It is asked once for each renewal, ahead of it, whatever it is for.
// What it agrees to is good for one bundle, and so for its lifetime. While it cannot be
// asked after that, renewals go on for Policy.AskGrace; when that is over too, the tokens
// are left to run out.
type approval struct {
	ahead      time.Duration // how long before the renewal it is asked; 0: nobody is asked
	grace      time.Duration // for how long after it agreed the session is renewed without its word
	approvedAt UnixSec       // when it last agreed; 0 = never
	approved   time.Duration // the same moment on the monotonic clock

	question question
}

// question is whether the back end agrees to the next bundle.
type question struct {
	given     bool          // it does
	owed      bool          // the newest bundle was minted without its word
	asking    bool          // it is being asked
	askedAt   time.Duration // since when
	notBefore time.Duration // it could not be asked, and is not again before this
}

// newApproval is that of a session that is made from a key.
func newApproval(key *Key, p *Policy, now Instant) approval {
	return approval{
		ahead: min(p.AskAhead, p.HeadStart(key.Terms.TTL)/2), grace: key.Terms.TTL + p.AskGrace,
		approvedAt: key.ApprovedAt, approved: now.at(key.ApprovedAt),
	}
}

// graceEnds is until when the session is renewed without anybody's word.
func (a *approval) graceEnds() time.Duration {
	if a.approvedAt == 0 {
		return -1
	}
	return a.approved + a.grace
}

// agreed is what comes next where a bundle is to be minted at due, and when. expires is
// when the tokens run out that are there.
func (a *approval) agreed(due, expires time.Duration) (Task, time.Duration) {
	q := &a.question
	switch {
	case a.ahead == 0 || q.given:
		return Renew, due
	case q.asking:
		// Asking takes less than this, so the answer is not out of reach yet.
		if due = max(due, q.askedAt+a.ahead); due <= a.graceEnds() {
			return Renew, due
		}
		return Deny, max(due, expires)
	case due <= min(a.graceEnds(), q.notBefore):
		return Renew, due
	case expires <= q.notBefore:
		return Deny, expires
	case q.owed: // the grace is to begin anew, should this happen again
		return Ask, q.notBefore
	}
	return Ask, max(due-a.ahead, q.notBefore)
}

// Asking notes that the back end is being asked about the bundle that comes after
// this seq.
func (s *Session) Asking(now Instant) (seq uint64) {
	s.question.asking, s.question.askedAt = true, now.Mono
	return s.issued.seq
}

// Awaits reports that the answer to the question of after this seq still counts.
func (s *Session) Awaits(seq uint64) bool { return s.question.asking && s.issued.seq == seq }

// Unspent forgets what the back end agreed to: no bundle was minted for it.
func (a *approval) Unspent() { a.question = question{owed: a.question.owed} }

// Approve notes that the back end agrees to the next bundle, and that the session
// is not to go on for longer than until; 0: as long as it may.
func (s *Session) Approve(until UnixSec, now Instant) {
	if until > 0 {
		s.Terms.Until = min(s.Terms.Until, until)
	}
	// An answer that was owed is about the bundle that is out already.
	s.question = question{given: !s.question.owed || !s.question.asking}
	s.approvedAt, s.approved = now.Sec(), now.Mono
}

// owedEvery is how often at most the back end is asked afterwards about a bundle
// that was minted without its word.
const owedEvery = 30 * time.Second

// Unanswered notes that the back end could not be asked. It is asked again after
// retry.
func (a *approval) Unanswered(retry time.Duration, now Instant) {
	if a.question.owed {
		retry = max(retry, owedEvery)
	}
	a.question = question{owed: a.question.owed, notBefore: now.Mono + retry}
}

// Agreed reports that the next bundle may be minted now: nobody is asked, or the
// back end has agreed, or it did so long ago, could not be asked since, and is
// within its grace.
func (a *approval) Agreed(now Instant) bool {
	return a.ahead == 0 || a.question.given || now.Mono <= a.graceEnds()
}

// MustAsk reports that the back end has to be asked before the next bundle.
func (a *approval) MustAsk() bool { return a.ahead > 0 && !a.question.given }

// MayRenew reports whether a bundle that somebody asks for may be minted now: the back
// end has agreed, and the last one that was asked for is askEvery ago.
func (s *Session) MayRenew(now Instant) bool { return !s.MustAsk() && now.Mono >= s.askAfter }

// Want has a new bundle minted for a cause, as soon as MayRenew.
func (s *Session) Want(cause Cause, now Instant) {
	at := max(now.Mono, s.askAfter, 1)
	if p := s.pending; p != nil {
		p.refused, p.cause, p.retry = true, cause, at
	}
	s.renewAt(at, cause) // also if the pending one is confirmed before
}

// SetRole gives the session another RTC role from its next bundle on. It reports
// false, and changes nothing, where there is none to change, it is the same, or
// it is more than was granted.
func (s *Session) SetRole(r Role) bool {
	rtc := s.Identity.RTC
	if rtc == nil || rtc.Role == r || r == Publisher && !s.Terms.MayPublish {
		return false
	}
	changed := *rtc // what others were shown of the session stays as it was
	changed.Role = r
	s.Identity.RTC = &changed
	s.question.given = false // that was about the other role
	return true
}

// renewAt has the session renewed for a cause at a moment, unless it is due before.
func (s *Session) renewAt(at time.Duration, cause Cause) {
	if due, _ := s.scheduled(); at < due {
		s.renewBy, s.renewCause = at, cause
	}
}
