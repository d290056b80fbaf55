package session

import "time"

// Action is the operation for which a Request asks permission: opening a session, reconnecting to a
// session, or minting new tokens for a session.
type Action string

const (
	ActionJoin   Action = "join"
	ActionResume Action = "resume"
	ActionRenew  Action = "renew"
)

// approval records your back end's approvals of the session. It is unused if no approvals are
// required (Policy.ApprovalAhead is 0). The node requests an approval before each renewal; each
// approval permits one bundle. If your back end does not answer, renewals continue for a grace
// period: one lifetime of the tokens plus Policy.ApprovalGrace since the last approval. After the
// grace period, the session ends as denied when its tokens expire.
type approval struct {
	// approvedAt is the time of the last approval, or 0 if there was none. approved is the same
	// time on the monotonic clock.
	approvedAt UnixSec
	approved   time.Duration

	request request
}

// request is the state of the request to your back end to approve the next bundle.
type request struct {
	requestedAt time.Duration
	// After a request that got no answer, the next request waits until notBefore.
	notBefore time.Duration
	// granted is true if your back end has approved the next bundle.
	granted bool
	// owed is true if the newest bundle was minted without approval, within the grace period.
	owed     bool
	underWay bool
}

// approvalAhead returns how long before a renewal the node requests approval; 0 if no approval is
// required.
func (s *Session) approvalAhead() time.Duration {
	return min(s.policy.ApprovalAhead, s.RenewBefore()/2)
}

// graceEnds returns the end of the grace period on the monotonic clock. It is negative if your back
// end has never approved the session.
func (s *Session) graceEnds() time.Duration {
	if s.approvedAt == 0 {
		return -1
	}
	return s.approved + s.Terms.TTL + s.policy.ApprovalGrace
}

// taskToMint returns the next step towards minting a bundle at the time `due`, and the time of
// that step: Ask (request approval), Renew (mint) or Deny. The argument `expires` is when the newest
// tokens expire.
func (s *Session) taskToMint(due, expires time.Duration) (Task, time.Duration) {
	q, ahead := &s.request, s.approvalAhead()
	switch {
	case ahead == 0 || q.granted:
		return Renew, due
	case q.underWay:
		// The renewal waits for your back end's answer for the time `ahead` after the request, or until the time `due`
		// if that is later.
		if due = max(due, q.requestedAt+ahead); due <= s.graceEnds() {
			return Renew, due
		}
		return Deny, max(due, expires)
	case due <= min(s.graceEnds(), q.notBefore):
		return Renew, due
	case expires <= q.notBefore:
		return Deny, expires
	case q.owed: // an approval restarts the grace period, so it is requested as soon as possible
		return Ask, q.notBefore
	}
	return Ask, max(due-ahead, q.notBefore)
}

// BeginApproval records that approval of the next bundle was requested. It returns the newest
// bundle's seq, which the caller passes to AwaitsApproval when the answer arrives.
func (s *Session) BeginApproval(now Instant) (seq uint64) {
	s.request.underWay, s.request.requestedAt = true, now.Mono
	return s.issued.seq
}

// AwaitsApproval reports whether the answer to a request still counts. The answer does not count if
// a bundle was minted since BeginApproval returned seq.
func (s *Session) AwaitsApproval(seq uint64) bool { return s.request.underWay && s.issued.seq == seq }

// DiscardApproval discards an approval that was not used for a bundle.
func (a *approval) DiscardApproval() { a.request = request{owed: a.request.owed} }

// Approve records that your back end approves the next bundle. If `until` is not 0, the session
// must end at that second.
func (s *Session) Approve(until UnixSec, now Instant) {
	if until > 0 {
		s.Terms.Until = min(s.Terms.Until, until)
	}
	// If the newest bundle was minted without approval, the answer is about that bundle, so the
	// next bundle needs another request.
	s.request = request{granted: !s.request.owed || !s.request.underWay}
	s.approvedAt, s.approved = now.Sec(), now.Mono
}

// owedEvery is the minimum time between two requests to approve a bundle that was already minted
// without approval.
const owedEvery = 30 * time.Second

// ApprovalUnavailable records that your back end did not answer. The node sends the next request
// after the delay `retry`.
func (a *approval) ApprovalUnavailable(retry time.Duration, now Instant) {
	if a.request.owed {
		retry = max(retry, owedEvery)
	}
	a.request = request{owed: a.request.owed, notBefore: now.Mono + retry}
}

// Approved reports whether the next bundle may be minted now, because no approval is required, your
// back end has approved the bundle, or the grace period has not ended.
func (s *Session) Approved(now Instant) bool {
	return s.approvalAhead() == 0 || s.request.granted || now.Mono <= s.graceEnds()
}

// NeedsApproval reports whether your back end must approve the next bundle and has not done so.
func (s *Session) NeedsApproval() bool { return s.approvalAhead() > 0 && !s.request.granted }

// MayRenew reports whether a bundle that the client or an operator requests may be minted now. It
// returns true if the bundle is approved and at least renewEvery has passed since the last
// requested bundle.
func (s *Session) MayRenew(now Instant) bool { return !s.NeedsApproval() && now.Mono >= s.renewAfter }

// Want schedules a bundle for the earliest time that MayRenew allows. The argument `cause` says why
// the bundle is needed.
func (s *Session) Want(cause Cause, now Instant) {
	at := max(now.Mono, s.renewAfter, 1)
	if p := s.pending; p != nil {
		p.refused, p.cause, p.retry = true, cause, at
	}
	s.renewAt(at, cause) // after renewAt, the bundle is minted even if the client confirms the pending bundle first
}

// SetRole changes the session's RTC role from its next bundle on. It returns false and changes
// nothing if the session has no RTC token, already has the role, or was not granted it.
func (s *Session) SetRole(r Role) bool {
	rtc := s.Identity.RTC
	if rtc == nil || rtc.Role == r || r == Publisher && !s.Terms.MayPublish {
		return false
	}
	changed := *rtc // the role is changed in a copy, since stored records share the old value
	changed.Role = r
	s.Identity.RTC = &changed
	s.request.granted = false // an approval of the old role does not permit the new one
	return true
}

// renewAt schedules a renewal for the time `at`, unless a renewal is due earlier.
func (s *Session) renewAt(at time.Duration, cause Cause) {
	if due, _ := s.scheduledRenewal(); at < due {
		s.renewBy, s.renewCause = at, cause
	}
}
