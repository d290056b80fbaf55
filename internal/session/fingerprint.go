package session

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Fingerprint identifies an App Certificate without revealing it: 32 bits derived from the
// certificate. 0 means unknown.
type Fingerprint uint32

// String returns eight hexadecimal digits, or nothing for 0.
func (f Fingerprint) String() string {
	if f == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", uint32(f))
}

// MarshalText implements encoding.TextMarshaler.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil || len(text) != 8 {
		return errors.New("fingerprint: want 8 hexadecimal digits")
	}
	*f = Fingerprint(n)
	return nil
}

// Signer is the certificate with which a node signs a project's tokens. It is immutable,
// since the sessions of a project share it.
type Signer struct {
	Certificate Fingerprint // 0: unknown; no session is renewed because of it
	// Since is when the certificate changed, on the monotonic clock. The renewal of
	// sessions with tokens of older certificates begins then; see
	// Policy.CertificateSpread.
	Since time.Duration
}

// unknownSigner is the Signer until SetSigner is called.
var unknownSigner Signer

// SetSigner sets the certificate with which the node signs from now on.
func (s *Session) SetSigner(signer *Signer) { s.signer = signer }

// Certificate returns the certificate that signed the client's tokens. It is 0 if the
// newest bundle is not confirmed and was signed with another certificate than the one
// before, since the client may have either.
func (s *Session) Certificate() Fingerprint {
	if s.held.certificate != s.issued.certificate {
		return 0
	}
	return s.issued.certificate
}

// outdated reports whether the newest tokens were signed with another certificate than the
// node's. If either is unknown, they do not count as outdated.
func (s *Session) outdated() bool {
	return s.issued.certificate != 0 && s.signer.Certificate != 0 && s.issued.certificate != s.signer.Certificate
}

// rotatesAt returns when an outdated session is renewed: at a moment within
// Policy.CertificateSpread that is derived from its id, so that not all sessions renew at
// once. If approvals are required, the first part of the span has no renewals, so that the
// requests for approval, which precede them, are spread in the same way.
func (s *Session) rotatesAt() time.Duration {
	spread := s.policy.CertificateSpread
	lead := min(s.approvalAhead(), spread/4)
	return s.signer.Since + lead + time.Duration(fraction(s.ID)*float64(spread-lead))
}
