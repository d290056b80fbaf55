package session

import (
	"time"
)

// MaxSeq is the highest seq that a resume request may contain. JavaScript counts exactly up to
// 2^53, so the session can continue to count from MaxSeq.
const MaxSeq = 1 << 52

// State is a stage in a session's life; see the diagram in the package documentation.
type State uint8

const (
	Attached State = iota
	Detached
	Ended
)

// Cause is why a bundle was minted.
type Cause string

const (
	CauseJoin     Cause = "join"
	CauseResume   Cause = "resume"
	CauseSchedule Cause = "schedule"
	CauseRenew    Cause = "renew"
	CauseNack     Cause = "nack"
	CauseRole     Cause = "role"
	// CauseCertificate means that the project's signing certificate has changed.
	CauseCertificate Cause = "certificate"
)

// EndReason is why a session ended, in the words of the protocol.
type EndReason string

const (
	EndLeft       EndReason = "left"
	EndRevoked    EndReason = "revoked"
	EndDenied     EndReason = "denied"
	EndExpired    EndReason = "expired"
	EndSuperseded EndReason = "superseded"
)

// Terms are the limits of one session, set at the join. An approval can move Until to an earlier
// time.
type Terms struct {
	// TTL is the lifetime of the session's tokens, in whole seconds.
	TTL time.Duration
	// Until is when the session ends at the latest. No token expires after it.
	Until UnixSec
	// MayPublish is true if an operator may change the role to Publisher.
	MayPublish bool
	Format     Format
}

// Session holds the state of one session and implements its rules. It does no I/O and
// reads no clock. It is not safe for concurrent use.
type Session struct {
	ID  string
	App string
	// Subject is the subject of the credential that opened the session.
	Subject  string
	Identity Identity
	Terms    Terms

	policy *Policy
	epochs
	delivery
	approval

	signer *Signer
	state  State
	// unreachable and tokensExpired say what was reported of the newest bundle while the session
	// was detached: that its tokens expire soon, and that they have expired.
	unreachable   bool
	tokensExpired bool
	detachedAt    time.Duration
	// After a failed renewal, the next attempt waits until notBefore.
	notBefore time.Duration
	// renewBy is the time of a renewal that must not wait for the schedule, or 0 if there is none.
	// renewCause is its cause; it is empty if a scheduled renewal was moved to an earlier time.
	renewBy    time.Duration
	renewCause Cause
}

// New returns a session without tokens and without a connection. If key.Epoch is 0, the session is
// new; otherwise the session already exists, and New restores it from the claims of its resume key
// alone.
func New(key ResumeClaims, policy *Policy, now Instant) *Session {
	return &Session{
		ID: key.Session, App: key.App, Subject: key.Subject, Identity: key.Identity, Terms: key.Terms,
		policy: policy, signer: &unknownSigner, state: Detached, detachedAt: now.Mono,
		epochs:   epochs{epoch: key.Epoch, proven: key.Epoch},
		approval: approval{approvedAt: key.ApprovedAt, approved: now.at(key.ApprovedAt)},
	}
}

// Claims returns the content of the newest resume key.
func (s *Session) Claims() ResumeClaims {
	return ResumeClaims{
		Session: s.ID, App: s.App, Subject: s.Subject, Identity: s.Identity, Terms: s.Terms, Epoch: s.epoch,
		ApprovedAt: s.approvedAt,
	}
}

// State returns the session's state.
func (s *Session) State() State { return s.state }

// Unreachable reports whether the session is detached and was reported as unreachable.
func (s *Session) Unreachable() bool { return s.unreachable }

// RenewBefore returns how long before their expiry the session's tokens are renewed, in whole
// seconds.
func (s *Session) RenewBefore() time.Duration { return s.policy.HeadStart(s.Terms.TTL) }

// Ending returns the message that tells the client about the session's end.
func (s *Session) Ending(reason EndReason) Ending {
	return Ending{Reason: reason, AccessEndsAt: s.issued.expiresAt}
}

// Admit accepts a resume key of this epoch, or refuses it with an EndedError. A key is refused if
// the client has already presented a newer key. Before that, older keys are accepted too, since the
// message with the newer key may have been lost.
func (s *Session) Admit(epoch uint64) error {
	if err := s.Refusal(epoch); err != nil {
		return err
	}
	s.proven = epoch
	s.epoch = max(s.epoch, epoch)
	return nil
}

// Refusal returns the error that Admit would return. It does not change the session.
func (s *Session) Refusal(epoch uint64) error {
	if epoch < s.proven {
		return &EndedError{s.Ending(EndSuperseded)}
	}
	return nil
}

// Confirm applies the report of a returning client: the client has the bundle `seq`, whose tokens
// expire at expiresAt; 0 means unknown. So a lost ack does no harm, and this node learns of another
// node's bundle even if the record of that bundle was not saved. seq is at most MaxSeq; see
// Resume.Check.
func (s *Session) Confirm(seq uint64, expiresAt UnixSec, now Instant) Acked {
	var a Acked
	// No bundle can expire later than `now` plus the lifetime of the tokens. Without the limit, a
	// client could claim a later expiry to get longer-lived tokens next time.
	expiresAt = min(expiresAt, now.Sec().Add(s.Terms.TTL))
	switch {
	case s.pending != nil && seq >= s.issued.seq:
		a = s.settle(now)
	case s.pending != nil:
	case expiresAt > s.issued.expiresAt && (seq > s.issued.seq || !s.issued.known()):
		// Another node minted this bundle, and this node has no record of it.
		s.held = bundle{seq: seq, expiresAt: expiresAt, expires: now.at(expiresAt)}
		s.issued = s.held
	case seq >= s.issued.seq:
		s.held = s.issued
	}
	if seq > s.issued.seq { // another node signed the bundle, so its certificate is unknown
		s.issued.seq = seq
		s.issued.certificate, s.held.certificate = 0, 0
	}
	return a
}

// NextValidity returns when the next bundle is issued and when it expires. The expiry is not before
// the expiry of the newest bundle, not after Terms.Until, and at most MaxLifetime ahead. The error
// is an EndedError if Terms.Until has passed.
func (s *Session) NextValidity(now Instant) (issuedAt, expiresAt UnixSec, err error) {
	issuedAt = now.Sec()
	expiresAt = max(issuedAt.Add(s.Terms.TTL), s.issued.expiresAt)
	expiresAt = min(expiresAt, s.Terms.Until, issuedAt.Add(MaxLifetime))
	if expiresAt <= issuedAt {
		return 0, 0, &EndedError{s.Ending(EndExpired)}
	}
	return issuedAt, expiresAt, nil
}

// Attach gives the session a new connection: it raises the epoch and records the tokens of the
// `joined` message. After a join these tokens need no ack. After a resume they are pushed again
// until the client acks them, like the tokens of a renewal.
func (s *Session) Attach(tokens Tokens, now Instant) Push {
	resumed := s.epoch > 0
	s.epoch++
	s.attachedEpoch = s.epoch
	s.state, s.silent, s.nacked = Attached, 0, false
	cause := CauseJoin
	if resumed {
		cause = CauseResume
	}
	push := s.Issue(tokens, cause, now)
	s.Sent()
	s.attachedSeq = push.Seq
	if !resumed {
		s.held, s.pending, s.silent = s.issued, nil, 0
	}
	return push
}

// Issue records a bundle that was minted for the times of NextValidity. It returns the push to
// send.
func (s *Session) Issue(tokens Tokens, cause Cause, now Instant) Push {
	s.pending = &pending{
		tokens: tokens, cause: cause, rejoin: s.heldExpired(now),
	}
	s.issued = bundle{
		seq: s.issued.seq + 1, expiresAt: tokens.ExpiresAt, expires: now.at(tokens.ExpiresAt),
		certificate: tokens.Certificate,
	}
	s.issuedAt = now.Sec()
	s.renewCause, s.request = "", request{owed: s.NeedsApproval()}
	s.minted, s.renewBy, s.notBefore, s.unreachable, s.tokensExpired, s.fetched = true, 0, 0, false, false, false
	s.detachedAt = now.Mono // a client that renews over HTTP is alive, so the resume window begins again
	switch cause {
	case CauseNack:
		s.nackAfter = now.Mono + s.policy.AckTimeout
	case CauseRenew, CauseRole:
		s.renewAfter = now.Mono + renewEvery
	default: // a client cannot cause these renewals whenever it likes, so they need no rate limit
	}
	return s.Repeat(now)
}

// Repeat returns the push of the unconfirmed bundle and gives the client another AckTimeout to
// answer it.
func (s *Session) Repeat(now Instant) Push {
	s.pending.retry = now.Mono + s.policy.AckTimeout
	return s.Again(now)
}

// Ack records that the client's SDK accepted bundle seq. If seq is the newest bundle, the pushes
// stop, and the deadline becomes that of the next renewal.
func (s *Session) Ack(seq uint64, now Instant) (Acked, error) {
	if seq > s.issued.seq {
		return Acked{}, Errorf(CodeBadRequest, "ack.seq: %d was not sent yet; the newest is %d", seq, s.issued.seq)
	}
	if s.state == Attached && seq >= s.attachedSeq {
		s.proven = s.attachedEpoch
	}
	s.heard(seq)
	if s.pending == nil || seq < s.issued.seq {
		return Acked{}, nil
	}
	return s.settle(now), nil
}

// renewEvery is the minimum time between two bundles that a client or an operator requests. Without
// this minimum, many requests could make a client send more than the 10 messages per second that it
// may send, since it acks each bundle.
const renewEvery = time.Second

// RenewRequested returns how to answer a client's renew message: Renew to mint a bundle; Repeat
// (call Again) if the newest bundle is not confirmed; Wait if a bundle is due anyway, or if one was
// sent less than renewEvery ago. A renew message is not an answer to a push.
func (s *Session) RenewRequested(now Instant) Task {
	switch p := s.pending; {
	case p != nil && (p.refused || s.mustRejoin(now) || now.Mono-p.pushedAt < renewEvery):
		return Wait
	case p != nil:
		return Repeat
	case now.Mono < s.renewAfter:
		s.renewAt(s.renewAfter, CauseRenew)
		return Wait
	}
	return Renew
}

// RenewRequestedOverHTTP returns how to answer a client that requests tokens over HTTP: Renew to
// mint a bundle, or Repeat (call Again) if the newest bundle was sent just now and is not
// confirmed.
func (s *Session) RenewRequestedOverHTTP(now Instant) Task {
	if p := s.pending; p != nil && !p.refused && now.Mono-p.pushedAt < s.policy.AckTimeout && !s.mustRejoin(now) {
		return Repeat
	}
	return Renew
}

// Defer delays the next renewal by at least d, because minting failed.
func (s *Session) Defer(d time.Duration, now Instant) {
	if s.pending != nil {
		s.pending.retry = now.Mono + d
	}
	s.notBefore = now.Mono + d
}

// Detach ends the attachment of this epoch. If the session has a newer attachment, Detach returns
// false and changes nothing.
func (s *Session) Detach(epoch uint64, now Instant) bool {
	if s.state != Attached || epoch != s.attachedEpoch {
		return false
	}
	s.state, s.detachedAt = Detached, now.Mono
	return true
}

// End ends the session. It cannot be reopened.
func (s *Session) End() { s.state = Ended }

// final reports whether the newest tokens expire at the end of the terms, so that new tokens could
// not expire later.
func (s *Session) final() bool { return s.issued.expiresAt >= s.Terms.Until }

// ClockStepped adapts the session to a wall clock that was set forward by `step`, so that its
// tokens expire earlier by `step` on the monotonic clock. The next renewal becomes due earlier,
// too. If many sessions are then due at once, their renewals are spread over the duration `window`,
// by session id. A negative `step` changes nothing, since the tokens then work longer than planned.
func (s *Session) ClockStepped(step, window time.Duration, now Instant) {
	due, _ := s.scheduledRenewal()
	if step <= 0 || s.state != Attached || due == never {
		return
	}
	spread := now.Mono + time.Duration(fraction(s.ID)*float64(min(window, s.Terms.TTL/4)))
	s.renewBy = min(due, max(due-step, spread))
}
