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

// consent is what is known of whether the customer's back end agrees to the next
// bundle, where it is asked (Policy.AskAhead). It is asked once for each renewal,
// ahead of it, whatever it is for. What it agrees to is good for one bundle, and so
// for its lifetime. While it cannot be asked after that, renewals go on for
// Policy.AskGrace; when that is over too, the tokens are left to run out.
type consent struct {
	given     bool          // since the newest bundle was minted
	owed      bool          // the newest bundle was minted without
	asking    bool          // the question is out
	askedAt   time.Duration // when it went out
	notBefore time.Duration // it could not be asked, and is not again before this
}

// asked reports whether anybody is asked at all.
func (p *Policy) asked() bool { return p.AskAhead > 0 }

// askAhead is how long before the renewal the back end is asked.
func (s *Session) askAhead() time.Duration {
	return min(s.policy.AskAhead, s.RenewBefore()/2)
}

// graceEnds is until when the session is renewed without anybody's word.
func (s *Session) graceEnds() time.Duration {
	if s.approvedAt == 0 {
		return -1
	}
	return s.approved + s.Terms.TTL + s.policy.AskGrace
}

// agreed is what comes next where a bundle is to be minted at due, and when.
func (s *Session) agreed(due time.Duration) (Task, time.Duration) {
	c := &s.consent
	if !s.policy.asked() || c.given {
		return Renew, due
	}
	switch {
	case c.asking:
		// Asking takes less than this, so the answer is not out of reach yet.
		if due = max(due, c.askedAt+s.askAhead()); due <= s.graceEnds() {
			return Renew, due
		}
		return Deny, max(due, s.issued.expires)
	case due <= min(s.graceEnds(), c.notBefore):
		return Renew, due
	case s.issued.expires <= c.notBefore:
		return Deny, s.issued.expires
	}
	if c.owed { // the grace is to begin anew, should this happen again
		return Ask, c.notBefore
	}
	return Ask, max(due-s.askAhead(), c.notBefore)
}

// Asking notes that the back end is being asked about the bundle that comes after
// this seq.
func (s *Session) Asking(now Instant) (seq uint64) {
	s.consent.asking, s.consent.askedAt = true, now.Mono
	return s.issued.seq
}

// Awaits reports that the answer to the question of after this seq still counts.
func (s *Session) Awaits(seq uint64) bool { return s.consent.asking && s.issued.seq == seq }

// Unspent forgets what the back end agreed to: no bundle was minted for it.
func (s *Session) Unspent() { s.consent = consent{owed: s.consent.owed} }

// Approve notes that the back end agrees to the next bundle, and that the session
// is not to go on for longer than until; 0: as long as it may.
func (s *Session) Approve(until UnixSec, now Instant) {
	if until > 0 {
		s.Terms.Until = min(s.Terms.Until, until)
	}
	// An answer that was owed is about the bundle that is out already.
	s.consent = consent{given: !s.consent.owed || !s.consent.asking}
	s.approvedAt, s.approved = now.Sec(), now.Mono
}

// owedEvery is how often at most the back end is asked afterwards about a bundle
// that was minted without its word.
const owedEvery = 30 * time.Second

// Unanswered notes that the back end could not be asked. It is asked again after
// retry.
func (s *Session) Unanswered(retry time.Duration, now Instant) {
	if s.consent.owed {
		retry = max(retry, owedEvery)
	}
	s.consent = consent{owed: s.consent.owed, notBefore: now.Mono + retry}
}

// Agreed reports that the next bundle may be minted now: nobody is asked, or the
// back end has agreed, or it did so long ago, could not be asked since, and is
// within its grace.
func (s *Session) Agreed(now Instant) bool {
	return !s.policy.asked() || s.consent.given || now.Mono <= s.graceEnds()
}

// MustAsk reports that the back end has to be asked before the next bundle.
func (s *Session) MustAsk() bool { return s.policy.asked() && !s.consent.given }

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
	s.consent.given = false // that was about the other role
	return true
}

// renewAt has the session renewed for a cause at a moment, unless it is due before.
func (s *Session) renewAt(at time.Duration, cause Cause) {
	if due, _ := s.scheduled(); at < due {
		s.renewBy, s.renewCause = at, cause
	}
}
