package session

// Record is what another node must know of a session to go on with it. It leaves out the
// connection, and the tokens of an unconfirmed bundle, for which new ones are minted. It is
// plain data. Records of one session can be compared by ==, since a session never changes
// its Identity in place.
type Record struct {
	ResumeClaims
	// Proven is the newest epoch whose resume key the client is known to have.
	Proven uint64
	State  State
	// Reason is why it ended, while it has.
	Reason EndReason

	// Seq and ExpiresAt are those of the newest bundle minted, HeldSeq and
	// HeldExpiresAt those of the newest one that the client is known to have.
	// An expiry of 0 is unknown.
	Seq, HeldSeq             uint64
	ExpiresAt, HeldExpiresAt UnixSec

	// IssuedAt is when the newest bundle was minted, rounded down, AckedAt
	// when the client last confirmed one; 0 is not known.
	IssuedAt, AckedAt UnixSec

	// Certificate signed the tokens that the client has, confirmed or not; 0 is not known.
	Certificate Fingerprint

	// DetachedAt is when the client was last connected, while Detached; 0 if
	// unknown.
	DetachedAt UnixMilli
	// Unreachable, TokensExpired and ExpiryReported say what was reported of its newest tokens:
	// that the client is unreachable, that the tokens expired while it was
	// detached, and that the tokens that the client holds expired.
	Unreachable, TokensExpired, ExpiryReported bool
	// Fetched: the newest bundle is not confirmed, and went out over HTTP only.
	Fetched bool
}

// Ending is the end of the session, as a client is told of it.
func (r *Record) Ending() Ending { return Ending{Reason: r.Reason, AccessEndsAt: r.ExpiresAt} }

// Record returns the session's record. reason is used once the session has ended.
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

// Restore makes a session from its record. One that was Attached is Detached from now on,
// since its connection is not on this node.
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
			break // from now on, as far as is known
		}
		s.detachedAt = min(now.Mono, now.atMilli(r.DetachedAt))
	case Ended:
		s.state = Ended
	case Attached:
	}
	return s
}
