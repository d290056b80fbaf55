package session

// Record is a session as stored: all that another node needs to continue it. It contains no
// tokens; if a bundle is unconfirmed, the other node mints new ones. Records of one session
// can be compared by ==, since a session never changes its Identity in place.
type Record struct {
	ResumeClaims
	// Proven is the newest epoch whose resume key the client is known to have.
	Proven uint64
	State  State
	// Reason is why the session ended, if State is Ended.
	Reason EndReason

	// Seq and ExpiresAt are those of the newest bundle minted, HeldSeq and
	// HeldExpiresAt those of the newest one that the client is known to have.
	// An expiry of 0 is unknown.
	Seq, HeldSeq             uint64
	ExpiresAt, HeldExpiresAt UnixSec

	// IssuedAt is when the newest bundle was minted, AckedAt when the client last
	// confirmed one. 0 is unknown.
	IssuedAt, AckedAt UnixSec

	// Certificate is the certificate that signed the client's tokens; 0 is unknown.
	Certificate Fingerprint

	// DetachedAt is when the connection was lost, if State is Detached; 0 is unknown.
	DetachedAt UnixMilli
	// Unreachable, TokensExpired and ExpiryReported say what was reported of its newest tokens:
	// that the client is unreachable, that the tokens expired while it was
	// detached, and that the tokens that the client holds expired.
	Unreachable, TokensExpired, ExpiryReported bool
	// Fetched: the newest bundle is not confirmed, and was given to the client over HTTP
	// only.
	Fetched bool
}

// Ending returns the message for the client about the session's end.
func (r *Record) Ending() Ending { return Ending{Reason: r.Reason, AccessEndsAt: r.ExpiresAt} }

// Record returns the session's record. reason is why the session ended; it is ignored while
// the session is open.
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

// Restore returns the session of a record. An Attached record becomes Detached now, since
// the session's connection is not on this node.
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
			break // the time is unknown: keep the time of New, which is now
		}
		s.detachedAt = min(now.Mono, now.atMilli(r.DetachedAt))
	case Ended:
		s.state = Ended
	case Attached:
	}
	return s
}
