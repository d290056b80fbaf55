package session

import "time"

// Action is the operation that a Request asks permission for.
type Action string

const (
	ActionJoin   Action = "join"   // open a session
	ActionResume Action = "resume" // connect to it again
	ActionRenew  Action = "renew"  // mint new tokens for it
)

// approval is the state of your back end's approval, if one is configured
// (Policy.ApprovalAhead). The node requests an approval before each renewal; each approval
// permits one bundle. If your back end does not answer, renewals continue for a grace
// period: one lifetime of the tokens plus Policy.ApprovalGrace since the last approval.
// After that the session ends as denied when its tokens expire.
type approval struct {
	approvedAt UnixSec       // the time of the last approval; 0: none
	approved   time.Duration // the same on the monotonic clock

	request request
}

// request is the state of the request for the next bundle's approval.
type request struct {
	requestedAt time.Duration // when the request began that is under way
	notBefore   time.Duration // earliest time of the next request, after one without an answer
	granted     bool          // the back end has approved the bundle
	owed        bool          // the newest bundle was minted in the grace period, without approval
	underWay    bool          // a request is under way
}

// approvalAhead returns how long before a renewal the approval is requested; 0 if none is
// needed.
func (s *Session) approvalAhead() time.Duration {
	return min(s.policy.ApprovalAhead, s.RenewBefore()/2)
}

// graceEnds returns when the grace period ends, on the monotonic clock; negative if the
// back end has never approved.
func (s *Session) graceEnds() time.Duration {
	if s.approvedAt == 0 {
		return -1
	}
	return s.approved + s.Terms.TTL + s.policy.ApprovalGrace
}

// taskToMint returns the next task on the way to a bundle that is minted at due (Renew, Ask
// or Deny), and its time. expires is when the newest tokens expire.
func (s *Session) taskToMint(due, expires time.Duration) (Task, time.Duration) {
	q, ahead := &s.request, s.approvalAhead()
	switch {
	case ahead == 0 || q.granted:
		return Renew, due
	case q.underWay:
		// A request takes less than ahead, so the answer may still come in time.
		if due = max(due, q.requestedAt+ahead); due <= s.graceEnds() {
			return Renew, due
		}
		return Deny, max(due, expires)
	case due <= min(s.graceEnds(), q.notBefore):
		return Renew, due
	case expires <= q.notBefore:
		return Deny, expires
	case q.owed: // ask as soon as possible: an approval starts the grace period anew
		return Ask, q.notBefore
	}
	return Ask, max(due-ahead, q.notBefore)
}

// BeginApproval records that the approval of the next bundle was requested. It returns the
// seq of the newest bundle, which AwaitsApproval needs.
func (s *Session) BeginApproval(now Instant) (seq uint64) {
	s.request.underWay, s.request.requestedAt = true, now.Mono
	return s.issued.seq
}

// AwaitsApproval reports whether the answer to a request still counts: no bundle was minted
// since BeginApproval returned seq.
func (s *Session) AwaitsApproval(seq uint64) bool { return s.request.underWay && s.issued.seq == seq }

// DiscardApproval discards an approval for which no bundle was minted.
func (a *approval) DiscardApproval() { a.request = request{owed: a.request.owed} }

// Approve records that your back end approves the next bundle. until, if not 0, is the
// second at which the session must end.
func (s *Session) Approve(until UnixSec, now Instant) {
	if until > 0 {
		s.Terms.Until = min(s.Terms.Until, until)
	}
	// The answer to an owed request is about the newest bundle, not the next.
	s.request = request{granted: !s.request.owed || !s.request.underWay}
	s.approvedAt, s.approved = now.Sec(), now.Mono
}

// owedEvery is the least time between two requests about a bundle that was minted without
// approval.
const owedEvery = 30 * time.Second

// ApprovalUnavailable records that your back end did not answer. The next request is sent
// after retry.
func (a *approval) ApprovalUnavailable(retry time.Duration, now Instant) {
	if a.request.owed {
		retry = max(retry, owedEvery)
	}
	a.request = request{owed: a.request.owed, notBefore: now.Mono + retry}
}

// Approved reports whether the next bundle may be minted now: no approval is needed, the back
// end has approved it, or the grace period is not over.
func (s *Session) Approved(now Instant) bool {
	return s.approvalAhead() == 0 || s.request.granted || now.Mono <= s.graceEnds()
}

// NeedsApproval reports whether the back end must be asked before the next bundle.
func (s *Session) NeedsApproval() bool { return s.approvalAhead() > 0 && !s.request.granted }

// MayRenew reports whether a bundle that the client or an operator asks for may be minted
// now: it is approved, and the last one asked for was minted renewEvery ago or earlier.
func (s *Session) MayRenew(now Instant) bool { return !s.NeedsApproval() && now.Mono >= s.renewAfter }

// Want schedules a new bundle, with this cause, for the earliest time that MayRenew allows.
func (s *Session) Want(cause Cause, now Instant) {
	at := max(now.Mono, s.renewAfter, 1)
	if p := s.pending; p != nil {
		p.refused, p.cause, p.retry = true, cause, at
	}
	s.renewAt(at, cause) // also if the pending one is confirmed before
}

// SetRole gives the session another RTC role from its next bundle on. It returns false and
// changes nothing if the session has no RTC tokens, has this role, or was not granted it.
func (s *Session) SetRole(r Role) bool {
	rtc := s.Identity.RTC
	if rtc == nil || rtc.Role == r || r == Publisher && !s.Terms.MayPublish {
		return false
	}
	changed := *rtc // a copy, since stored records share the old value
	changed.Role = r
	s.Identity.RTC = &changed
	s.request.granted = false // the approval was for the other role
	return true
}

// renewAt schedules a renewal for a cause at a moment, unless one is due before.
func (s *Session) renewAt(at time.Duration, cause Cause) {
	if due, _ := s.scheduledRenewal(); at < due {
		s.renewBy, s.renewCause = at, cause
	}
}
