package session

// Record is a session as it is stored: all that another node needs to continue the session. It
// contains no tokens; if a bundle is unconfirmed, the other node mints a new one. Two records of
// one session can be compared with ==, because a session replaces its Identity rather than modify
// it.
type Record struct {
	ResumeClaims
	// Proven is the highest epoch whose resume key the client has presented.
	Proven uint64
	State  State
	// Reason is why the session ended; it is empty unless State is Ended.
	Reason EndReason

	// Seq and ExpiresAt describe the newest bundle that was minted. HeldSeq and HeldExpiresAt
	// describe the newest bundle that the client has confirmed. An expiry of 0 is unknown.
	Seq, HeldSeq             uint64
	ExpiresAt, HeldExpiresAt UnixSec

	// IssuedAt is when the newest bundle was minted. AckedAt is when the client last confirmed a
	// bundle. 0 means unknown.
	IssuedAt, AckedAt UnixSec

	// Certificate is the certificate that signed the client's tokens; 0 means unknown.
	Certificate Fingerprint

	// DetachedAt is when the connection was lost; 0 if unknown, or if State is not Detached.
	DetachedAt UnixMilli
	// These fields say what was reported about the newest bundle, so that another node does not
	// report the same again: that the client is unreachable, that the tokens expired while the
	// session was detached, and that the tokens which the client holds expired.
	Unreachable, TokensExpired, ExpiryReported bool
	// Fetched is true if the newest bundle is not confirmed and was given to the client over HTTP
	// only.
	Fetched bool
}

// Ending returns the message that tells the client about the session's end.
func (r *Record) Ending() Ending { return Ending{Reason: r.Reason, AccessEndsAt: r.ExpiresAt} }

// Record returns the session's record. reason is why the session ended; it is ignored if the
// session is open.
func (s *Session) Record(reason EndReason, now Instant) Record {
	r := Record{
		ResumeClaims: s.Claims(), Proven: s.proven, State: s.state,
		Seq: s.issued.seq, ExpiresAt: s.issued.expiresAt,
		HeldSeq: s.held.seq, HeldExpiresAt: s.held.expiresAt,
		IssuedAt: s.issuedAt, AckedAt: s.ackedAt, Certificate: s.Certificate(),
		Unreachable: s.unreachable, TokensExpired: s.tokensExpired, ExpiryReported: s.expiryReported,
		Fetched: s.fetched || s.pending != nil && !s.pending.sent && !s.pending.refused,
	}
	switch s.state {
	case Detached:
		r.DetachedAt = now.MilliAt(s.detachedAt)
	case Ended:
		r.Reason = reason
	case Attached:
	}
	return r
}

// Restore returns the session that a record describes. If the record's state is Attached, the
// session becomes Detached now, since its connection is not on this node.
func Restore(r Record, policy *Policy, now Instant) *Session {
	s := New(r.ResumeClaims, policy, now)
	s.proven = r.Proven
	s.issued = bundle{seq: r.Seq, expiresAt: r.ExpiresAt, expires: now.at(r.ExpiresAt), certificate: r.Certificate}
	s.held = bundle{seq: r.HeldSeq, expiresAt: r.HeldExpiresAt, expires: now.at(r.HeldExpiresAt), certificate: r.Certificate}
	s.minted = r.Seq > 0
	s.issuedAt, s.ackedAt = r.IssuedAt, r.AckedAt
	s.unreachable, s.tokensExpired, s.expiryReported, s.fetched = r.Unreachable, r.TokensExpired, r.ExpiryReported, r.Fetched
	switch r.State {
	case Detached:
		if r.DetachedAt == 0 {
			break // the time is unknown, so detachedAt keeps the current time, which New has set
		}
		s.detachedAt = min(now.Mono, now.atMilli(r.DetachedAt))
	case Ended:
		s.state = Ended
	case Attached:
	}
	return s
}
