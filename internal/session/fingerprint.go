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

// String returns f as eight hexadecimal digits, or "" for 0.
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

// Signer is the certificate with which a node signs a project's tokens. It must not be changed
// after its creation, since all sessions of a project share it.
type Signer struct {
	// Certificate is 0 if the node's certificate is unknown. Then the certificate of a session's
	// tokens is never a reason to renew them.
	Certificate Fingerprint
	// Since is when the certificate changed, on the monotonic clock. At that time the node begins
	// to renew the sessions whose tokens were signed with older certificates, spread over
	// Policy.CertificateSpread.
	Since time.Duration
}

// unknownSigner is the Signer of a session until SetSigner is called.
var unknownSigner Signer

// SetSigner sets the certificate with which the node signs from now on.
func (s *Session) SetSigner(signer *Signer) { s.signer = signer }

// Certificate returns the certificate that signed the client's tokens. It returns 0 (unknown) if
// the newest bundle is not confirmed and has another certificate than the previous bundle, since
// the client may have either bundle.
func (s *Session) Certificate() Fingerprint {
	if s.held.certificate != s.issued.certificate {
		return 0
	}
	return s.issued.certificate
}

// outdated reports whether the newest tokens were signed with a certificate other than the node's.
// It returns false if either certificate is unknown.
func (s *Session) outdated() bool {
	return s.issued.certificate != 0 && s.signer.Certificate != 0 && s.issued.certificate != s.signer.Certificate
}

// rotatesAt returns when a session whose certificate is outdated must be renewed. The time lies
// within Policy.CertificateSpread and is derived from the session's id, so that not all sessions
// renew at once. If approvals are required, the time is never in the first part of the spread, so
// that the requests for approval, which precede the renewals, are spread in the same way.
func (s *Session) rotatesAt() time.Duration {
	spread := s.policy.CertificateSpread
	lead := min(s.approvalAhead(), spread/4)
	return s.signer.Since + lead + time.Duration(fraction(s.ID)*float64(spread-lead))
}
