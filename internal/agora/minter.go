package agora

import (
	"fmt"
	"math/rand/v2"

	"refresher/internal/session"
)

// maxSalt is the largest salt that Agora's builders draw; the least is 1.
const maxSalt = 99_999_999

// Minter signs tokens of one Agora project. It is immutable and safe for
// concurrent use.
type Minter struct {
	appID   string
	version Version
	// certificate is a pointer so that fmt, which a Minter inside an unexported
	// field reaches without calling Format, prints an address.
	certificate *string
}

// NewMinter returns a Minter of RTC and RTM tokens in format v; Chat tokens
// are always 007. The App ID and the certificate are 32 hex digits each, whose
// case is kept since both are signed. Errors don't quote them.
func NewMinter(appID, certificate string, v Version) (*Minter, error) {
	if err := checkHex("app-id", appID); err != nil {
		return nil, err
	}
	if err := checkHex("app-certificate", certificate); err != nil {
		return nil, err
	}
	if _, err := ParseVersion(string(v)); err != nil {
		return nil, err
	}
	return &Minter{appID: appID, version: v, certificate: &certificate}, nil
}

// Format prints the App ID and the format under every verb, so that no log
// line or message can carry the certificate.
func (m Minter) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "agora.Minter{%s %s}", m.appID, m.version) // a failing writer is the printer's to notice
}

// Mint returns one token for each service that id asks for. All of them, and
// the privileges in them, end at expiresAt. Times are Unix seconds; expiresAt
// lies 1 to 86400 s after issuedAt. A refusal is a *session.Error of
// CodeBadRequest, and then there are no tokens.
func (m *Minter) Mint(id session.Identity, issuedAt, expiresAt int64) (session.Tokens, error) {
	if err := Validate(id); err != nil {
		return session.Tokens{}, err
	}
	b, err := m.bundle(issuedAt, expiresAt)
	if err != nil {
		return session.Tokens{}, err
	}
	tokens := session.Tokens{ExpiresAt: expiresAt}
	if id.RTC != nil {
		if tokens.RTC, err = b.rtc(*id.RTC); err != nil {
			return session.Tokens{}, err
		}
	}
	if id.RTM != nil {
		if tokens.RTM, err = b.rtm(*id.RTM); err != nil {
			return session.Tokens{}, err
		}
	}
	if id.Chat != nil {
		tokens.Chat = b.chat(*id.Chat)
	}
	return tokens, nil
}

// MintChat returns a Chat token of one user or, for an empty user id, the
// application token, which administers the whole Chat app: a caller that means
// a user checks with [ValidateChat] first. Times and errors are Mint's.
func (m *Minter) MintChat(c session.Chat, issuedAt, expiresAt int64) (string, error) {
	if c.UserID != "" {
		if err := ValidateChat(c); err != nil {
			return "", err
		}
	}
	b, err := m.bundle(issuedAt, expiresAt)
	if err != nil {
		return "", err
	}
	return b.chat(c), nil
}

// bundle mints tokens that are issued together. They share a salt, and so
// with 007 a signing key, which is more than half the work of a token.
type bundle struct {
	minter                   *Minter
	issuedAt, lifetime, salt uint32
	envelope                 envelope // of V007; the zero value in a bundle of V006
}

func (m *Minter) bundle(issuedAt, expiresAt int64) (bundle, error) {
	if err := checkTimes(issuedAt, expiresAt); err != nil {
		return bundle{}, err
	}
	b := bundle{
		minter:   m,
		issuedAt: uint32(issuedAt),
		lifetime: uint32(expiresAt - issuedAt),
		// The salt travels in the clear and only has to differ between tokens
		// of one second, so the runtime's per-thread generator will do: some
		// nanoseconds, no lock, no system call.
		salt: 1 + rand.Uint32N(maxSalt), //nolint:gosec // G404: it is no secret.
	}
	if m.version == V007 {
		b.envelope = b.newEnvelope()
	}
	return b, nil
}

func (b *bundle) newEnvelope() envelope {
	return newEnvelope(b.minter.appID, *b.minter.certificate, b.issuedAt, b.lifetime, b.salt)
}

func (b *bundle) rtc(r session.RTC) (string, error) {
	if b.minter.version == V006 {
		return b.rtc006(r)
	}
	return b.envelope.rtc(r), nil
}

func (b *bundle) rtm(r session.RTM) (string, error) {
	if b.minter.version == V006 {
		return b.rtm006(r)
	}
	return b.envelope.rtm(r), nil
}

// chat has no 006 form.
func (b *bundle) chat(c session.Chat) string {
	if b.minter.version == V006 {
		b.envelope = b.newEnvelope()
	}
	return b.envelope.chat(c)
}
