package agora

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"refresher/internal/session"
)

// maxSalt is the largest salt that Agora's builders draw; the least is 1.
const maxSalt = 99_999_999

// Minter signs tokens of one Agora project. It is immutable and safe for
// concurrent use.
type Minter struct {
	appID string
	// certificate is a pointer so that fmt, which a Minter inside an unexported
	// field reaches without calling Format, prints an address.
	certificate *string
	fingerprint session.Fingerprint
}

// NewMinter returns a Minter. The App ID and the certificate are 32 hex digits
// each, whose case is kept since both are signed. Errors don't quote them.
func NewMinter(appID, certificate string) (*Minter, error) {
	if err := checkHex(appID); err != nil {
		return nil, fmt.Errorf("app-id: %w", err)
	}
	if err := checkHex(certificate); err != nil {
		return nil, fmt.Errorf("app-certificate: %w", err)
	}
	return &Minter{appID: appID, certificate: &certificate, fingerprint: Fingerprint(certificate)}, nil
}

// Fingerprint names an App Certificate without revealing anything of it.
func Fingerprint(certificate string) session.Fingerprint {
	b, err := hkdf.Key(sha256.New, []byte(certificate), nil, "refresher certificate fingerprint 1", 4)
	if err != nil {
		panic(err) // of no length that hkdf refuses
	}
	return session.Fingerprint(max(1, binary.BigEndian.Uint32(b)))
}

// Fingerprint names the certificate that m signs with.
func (m *Minter) Fingerprint() session.Fingerprint { return m.fingerprint }

// Format prints the App ID under every verb, so that no log line or message can
// carry the certificate.
func (m Minter) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "agora.Minter{%s}", m.appID) // a failing writer is the printer's to notice
}

// Mint returns tokens in format f for each service that id asks for. All of them,
// and the privileges in them, end at expiresAt. expiresAt
// lies 1 to 86400 s after issuedAt. A refusal is a *session.Error of
// CodeBadRequest, and then there are no tokens.
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

// MintStream returns an RTM token of m that also opens stream channel c.Channel,
// or every one if that is "*": to join it and, for a publisher, to send messages
// there. c's user is m's. Times and errors are Mint's.
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

// MintChat returns a Chat token of one user or, for an empty user id, the
// application token, which administers the whole Chat app: a caller that means
// a user checks with [ValidateChat] first. Times and errors are Mint's.
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

// bundle is what tokens have in common that are issued together. They share a
// salt, and so with 007 a signing key, which is more than half the work of a
// token.
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
		// The salt travels in the clear and only has to differ between tokens
		// of one second, so the runtime's per-thread generator will do: some
		// nanoseconds, no lock, no system call.
		salt: 1 + rand.Uint32N(maxSalt), //nolint:gosec // G404: it is no secret.
	}, nil
}

func (b *bundle) envelope() envelope {
	return newEnvelope(b.minter.appID, *b.minter.certificate, b.issuedAt, b.lifetime, b.salt)
}

// mint007 makes the tokens of version 007: one for each service or, in
// FormatSingle, one for RTC and RTM.
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

// mint006 makes the tokens of version 006, and Chat's, which has none, in 007.
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
