package agora

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"refresher/internal/session"
)

// maxSalt is the largest salt that Agora's builders choose; the smallest is 1.
const maxSalt = 99_999_999

// Minter signs tokens of one Agora project. It is immutable and safe for
// concurrent use.
type Minter struct {
	appID string
	// certificate is a pointer, so that fmt prints an address for a Minter in an unexported field:
	// fmt does not call Format there, and would print the certificate.
	certificate *string
	fingerprint session.Fingerprint
}

// NewMinter returns a Minter. The App ID and the certificate must be 32 hex digits each. Upper and lower case are kept,
// since the signature depends on them. Errors quote neither the App ID nor the certificate.
func NewMinter(appID, certificate string) (*Minter, error) {
	if err := checkHex(appID); err != nil {
		return nil, fmt.Errorf("app-id: %w", err)
	}
	if err := checkHex(certificate); err != nil {
		return nil, fmt.Errorf("app-certificate: %w", err)
	}
	return &Minter{appID: appID, certificate: &certificate, fingerprint: Fingerprint(certificate)}, nil
}

// Fingerprint returns an identifier of an App Certificate. It reveals no part of the certificate.
func Fingerprint(certificate string) session.Fingerprint {
	b, err := hkdf.Key(sha256.New, []byte(certificate), nil, "refresher certificate fingerprint 1", 4)
	if err != nil {
		panic(err) // impossible: hkdf accepts this length
	}
	return session.Fingerprint(max(1, binary.BigEndian.Uint32(b)))
}

// Fingerprint returns the fingerprint of the certificate that m signs with.
func (m *Minter) Fingerprint() session.Fingerprint { return m.fingerprint }

// Format implements fmt.Formatter. It prints only the App ID for every verb, so that the
// certificate cannot get into a log line.
func (m Minter) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "agora.Minter{%s}", m.appID) // f is a buffer of fmt, so the write cannot fail
}

// Mint returns tokens in format f for each service in id. The tokens and their privileges expire
// at expiresAt, which must be 1 to 86400 s after issuedAt. If id or expiresAt is invalid, the error
// is a *session.Error with CodeBadRequest.
func (m *Minter) Mint(id session.Identity, f session.Format, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	if err := Validate(id); err != nil {
		return session.Tokens{}, err
	}
	b, err := m.bundle(issuedAt, expiresAt)
	if err != nil {
		return session.Tokens{}, err
	}
	tokens := session.Tokens{ExpiresAt: expiresAt, Certificate: m.fingerprint}
	if f == session.Format006 {
		err = b.mint006(id, &tokens)
	} else {
		b.mint007(id, f, &tokens)
	}
	if err != nil {
		return session.Tokens{}, err
	}
	return tokens, nil
}

// MintStream returns an RTM token for u that also grants access to the stream channel c.Channel, or
// to all stream channels if c.Channel is "*". The holder can join and, as a publisher, send
// messages. c has the same user as u. The times and errors are as in Mint.
func (m *Minter) MintStream(c session.RTC, u session.RTM, issuedAt, expiresAt session.UnixSec) (string, error) {
	if err := ValidateRTM(u); err != nil {
		return "", err
	}
	if err := ValidateRTC(c); err != nil {
		return "", err
	}
	b, err := m.bundle(issuedAt, expiresAt)
	if err != nil {
		return "", err
	}
	privileges := subscriberPrivileges
	if c.Role == session.Publisher {
		privileges = streamPrivileges
	}
	e := b.envelope()
	return e.rtcAndRTM(c, privileges, u), nil
}

// MintChat returns a Chat token for one user. For an empty user id it returns Chat's app token,
// which administers the whole Chat app, so a caller that wants a user's token must call [ValidateChat]
// first. The times and errors are as in Mint.
func (m *Minter) MintChat(c session.Chat, issuedAt, expiresAt session.UnixSec) (string, error) {
	if c.UserID != "" {
		if err := ValidateChat(c); err != nil {
			return "", err
		}
	}
	b, err := m.bundle(issuedAt, expiresAt)
	if err != nil {
		return "", err
	}
	e := b.envelope()
	return e.chat(c), nil
}

// bundle has the fields that all tokens of one call of Mint share. The tokens have the same salt and issue time. In
// version 007 they therefore have the same signing key, which is derived only once. The derivation is more than half
// the cost of a token.
type bundle struct {
	minter                   *Minter
	issuedAt, lifetime, salt uint32
}

func (m *Minter) bundle(issuedAt, expiresAt session.UnixSec) (bundle, error) {
	if err := checkTimes(issuedAt, expiresAt); err != nil {
		return bundle{}, err
	}
	return bundle{
		minter:   m,
		issuedAt: uint32(issuedAt),
		lifetime: uint32(expiresAt - issuedAt),
		// The salt is not secret and only has to differ between tokens that are issued in the same second, so the
		// runtime's per-thread generator suffices: it needs no lock and no system call.
		salt: 1 + rand.Uint32N(maxSalt), //nolint:gosec // G404: the salt is not secret.
	}, nil
}

func (b *bundle) envelope() envelope {
	return newEnvelope(b.minter.appID, *b.minter.certificate, b.issuedAt, b.lifetime, b.salt)
}

// mint007 makes tokens of version 007: one for each service, or one for RTC and RTM together in
// FormatSingle.
func (b *bundle) mint007(id session.Identity, f session.Format, tokens *session.Tokens) {
	e := b.envelope()
	switch {
	case f == session.FormatSingle && id.RTC != nil && id.RTM != nil:
		tokens.RTC = e.rtcAndRTM(*id.RTC, rtcPrivileges(id.RTC.Role), *id.RTM)
		tokens.RTM = tokens.RTC
	default:
		if id.RTC != nil {
			tokens.RTC = e.rtc(*id.RTC)
		}
		if id.RTM != nil {
			tokens.RTM = e.rtm(*id.RTM)
		}
	}
	if id.Chat != nil {
		tokens.Chat = e.chat(*id.Chat)
	}
}

// mint006 makes tokens of version 006. Chat has no 006 format, so its token is 007.
func (b *bundle) mint006(id session.Identity, tokens *session.Tokens) (err error) {
	if id.RTC != nil {
		if tokens.RTC, err = b.rtc006(*id.RTC); err != nil {
			return err
		}
	}
	if id.RTM != nil {
		if tokens.RTM, err = b.rtm006(*id.RTM); err != nil {
			return err
		}
	}
	if id.Chat != nil {
		e := b.envelope()
		tokens.Chat = e.chat(*id.Chat)
	}
	return nil
}
