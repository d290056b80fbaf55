package session

import "time"

// Action is what the customer's back end is asked to allow.
type Action string

const (
	ActionJoin   Action = "join"   // open a session
	ActionResume Action = "resume" // connect to it again
	ActionRenew  Action = "renew"  // mint new tokens for it
)

// approval is the state of the approvals by the customer's back end, if it is configured
// (Policy.ApprovalAhead). The node asks once for each renewal, ahead of it. An approval is good
// for one bundle. If the back end does not answer, renewals go on for a grace period: one
// lifetime of the tokens and Policy.ApprovalGrace since the last approval. After that the session
// is denied once its tokens expire.
type approval struct {
	approvedAt UnixSec       // the time of the last approval; 0: none
	approved   time.Duration // the same on the monotonic clock

	request request
}

// request is the approval of the next bundle.
type request struct {
	requestedAt time.Duration // when the request began that is under way
	notBefore   time.Duration // the back end did not answer; the next request is not sent before this
	granted     bool          // the back end has approved the bundle
	owed        bool          // the newest bundle was minted in the grace period, without approval
	underWay    bool          // a request is under way
}

// approvalAhead returns how long before a renewal the back end is asked; 0: no approval is needed.
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

// taskToMint returns what the session must do next to have a bundle minted at due (Renew, Ask
// or Deny), and when. expires is when the newest tokens expire.
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

// BeginApproval notes that the back end is being asked about the next bundle. It returns the
// seq of the newest one, for AwaitsApproval.
func (s *Session) BeginApproval(now Instant) (seq uint64) {
	s.request.underWay, s.request.requestedAt = true, now.Mono
	return s.issued.seq
}

// AwaitsApproval reports whether the answer to the request that began at seq still counts:
// no bundle was minted since.
func (s *Session) AwaitsApproval(seq uint64) bool { return s.request.underWay && s.issued.seq == seq }

// DiscardApproval discards an approval for which no bundle was minted.
func (a *approval) DiscardApproval() { a.request = request{owed: a.request.owed} }

// Approve notes that the back end approves the next bundle. until bounds the session's
// life; 0 does not.
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

// ApprovalUnavailable notes that the back end did not answer. The next request follows after
// retry.
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

// Want schedules a new bundle for a cause, as soon as MayRenew allows it.
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
	changed := *rtc // a copy: records share the old one
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
