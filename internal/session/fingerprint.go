package session

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Fingerprint names an App Certificate without revealing anything of it: 32 bits that
// are derived from it. 0 is not known.
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

// Signer is the certificate that a node signs a project's tokens with. It is immutable:
// the sessions of a project share it.
type Signer struct {
	Certificate Fingerprint // 0: not known, and no session is renewed because of it
	// Since is the monotonic moment at which the span begins in which sessions are
	// renewed whose tokens another certificate has signed.
	Since time.Duration
}

// unknownSigner is the Signer until SetSigner is called.
var unknownSigner Signer

// SetSigner says what the node signs the session's tokens with from now on.
func (s *Session) SetSigner(signer *Signer) { s.signer = signer }

// Certificate signed the tokens that the client has. 0 is not known: it may have the newest
// or those before, and another certificate has signed these.
func (s *Session) Certificate() Fingerprint {
	if s.held.certificate != s.issued.certificate {
		return 0
	}
	return s.issued.certificate
}

// outdated reports whether the newest tokens are known to be signed with another
// certificate than the node's.
func (s *Session) outdated() bool {
	return s.issued.certificate != 0 && s.signer.Certificate != 0 && s.issued.certificate != s.signer.Certificate
}

// rotatesAt is the session's own place in Policy.CertificateSpread, in which tokens are
// renewed that are outdated. Where the customer's back end is asked, the first part of
// the span is left to the questions, so that they are spread as the renewals are.
func (s *Session) rotatesAt() time.Duration {
	spread := s.policy.CertificateSpread
	lead := min(s.approvalAhead(), spread/4)
	return s.signer.Since + lead + time.Duration(fraction(s.ID)*float64(spread-lead))
}
