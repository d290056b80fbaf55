package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ResumeClaims is the content of a resume key. It is all that a node needs to continue a session
// without the store or another node.
type ResumeClaims struct {
	Session  string
	App      string
	Subject  string
	Identity Identity
	Terms    Terms
	// Epoch is the epoch of the attachment for which the key was issued; 0 before the join. The
	// client presents its key to any node, so nodes can order attachments without comparing their
	// clocks.
	Epoch uint64
	// ApprovedAt is when your back end last approved the session; 0 if no approval was requested.
	ApprovedAt UnixSec
}

// sealedKey is the plaintext of a resume key. Do not rename its JSON fields: nodes of different
// releases read each other's keys.
type sealedKey struct {
	App        string      `json:"app"`
	RTC        *sealedRTC  `json:"rtc,omitempty"`
	RTM        *sealedUser `json:"rtm,omitempty"`
	Chat       *sealedUser `json:"chat,omitempty"`
	TTLSeconds int64       `json:"ttl"`
	Until      UnixSec     `json:"until"`
	Epoch      uint64      `json:"epoch"`
	Subject    string      `json:"sub,omitempty"`
	MayPublish bool        `json:"publish,omitempty"`
	ApprovedAt UnixSec     `json:"approved,omitempty"`
	Format     Format      `json:"format,omitempty"`
}

type sealedRTC struct {
	Channel string `json:"channel"`
	UID     uint32 `json:"uid,omitempty"`
	Account string `json:"account,omitempty"`
	Role    Role   `json:"role"`
}

type sealedUser struct {
	UserID string `json:"userId"`
}

const (
	// keyFormat is the first byte of an encrypted resume key, and cursorFormat is the first byte of
	// an encrypted cursor.
	keyFormat    = 1
	cursorFormat = 2
	// keyInfo is the info argument of HKDF. It makes the derived key differ from keys that are
	// derived from the same secret for other purposes.
	keyInfo = "refresher resume key 1"
	// minSecret is the minimum length of a secret in bytes.
	minSecret = 16
	// maxSealed is the maximum length, in bytes, of a text that Open accepts. The longest key that
	// Seal returns has less than 3.5 KiB.
	maxSealed = 4096
)

// Sealer encrypts and decrypts resume keys with AES-256-GCM. Each session has its own
// encryption key: HMAC-SHA256 of the session's id, under a root key that HKDF-SHA256 derives
// from the secret. So a resume key is valid for one session only, and the number of random
// nonces under one encryption key stays far below the bound at which they could repeat.
// All nodes that share the secret can open each other's resume keys. A Sealer is safe for
// concurrent use.
type Sealer struct {
	// roots contains a root key for each secret. The first one encrypts, and all of them decrypt.
	roots atomic.Pointer[[][]byte]
}

// NewSealer returns a Sealer that encrypts with the first secret and decrypts with any of them, so
// that a secret can be replaced while clients still have resume keys encrypted with it. Each secret
// must have at least 16 bytes.
func NewSealer(secrets ...[]byte) (*Sealer, error) {
	s := &Sealer{}
	return s, s.Use(secrets...)
}

// Use replaces all secrets. On an error nothing changes.
func (s *Sealer) Use(secrets ...[]byte) error {
	if len(secrets) == 0 {
		return errors.New("session-secret: want at least one")
	}
	var roots [][]byte
	for i, secret := range secrets {
		if len(secret) < minSecret {
			name := "session-secret"
			if i > 0 {
				name = "previous-session-secret"
			}
			return fmt.Errorf("%s: want at least %d bytes, have %d", name, minSecret, len(secret))
		}
		root, err := hkdf.Key(sha256.New, secret, nil, keyInfo, sha256.Size)
		if err != nil {
			return fmt.Errorf("session secret: %w", err)
		}
		roots = append(roots, root)
	}
	s.roots.Store(&roots)
	return nil
}

// Seal returns the resume key with these claims: an opaque string for the client to keep.
func (s *Sealer) Seal(k ResumeClaims) (string, error) {
	plain := sealedKey{
		App: k.App, TTLSeconds: int64(k.Terms.TTL / time.Second), Until: k.Terms.Until, Epoch: k.Epoch,
		Subject: k.Subject, MayPublish: k.Terms.MayPublish, ApprovedAt: k.ApprovedAt, Format: k.Terms.Format,
	}
	if r := k.Identity.RTC; r != nil {
		plain.RTC = &sealedRTC{Channel: r.Channel, UID: r.UID, Account: r.Account, Role: r.Role}
	}
	if r := k.Identity.RTM; r != nil {
		plain.RTM = &sealedUser{r.UserID}
	}
	if r := k.Identity.Chat; r != nil {
		plain.Chat = &sealedUser{r.UserID}
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return "", fmt.Errorf("seal resume key: %w", err)
	}
	return s.seal(keyFormat, k.Session, text)
}

// Open decrypts the resume key of a session; session is the id that the client sent with the key.
// If the key cannot be decrypted, the error is ErrUnknown.
func (s *Sealer) Open(session, sealed string) (ResumeClaims, error) {
	if len(session) > maxSealed {
		return ResumeClaims{}, ErrUnknown
	}
	text, ok := s.open(keyFormat, session, sealed)
	if !ok {
		return ResumeClaims{}, ErrUnknown
	}
	return parseKey(session, text)
}

// SealCursor encrypts the cursor of one project's list of sessions, because the cursor may contain
// the id of another project's session.
func (s *Sealer) SealCursor(app, cursor string) (string, error) {
	return s.seal(cursorFormat, cursorName(app), []byte(cursor))
}

// OpenCursor decrypts a cursor from SealCursor, also one from another node with the same secret. ok
// is false if the cursor was not encrypted for this project.
func (s *Sealer) OpenCursor(app, sealed string) (cursor string, ok bool) {
	text, ok := s.open(cursorFormat, cursorName(app), sealed)
	return string(text), ok
}

// cursorName returns the name under which seal encrypts a project's cursors. It contains a space,
// so that it cannot equal a session's id.
func cursorName(app string) string { return "cursor " + app }

// seal encrypts text. Each name has its own encryption key, and open needs the same name and format
// to decrypt the text.
func (s *Sealer) seal(format byte, name string, text []byte) (string, error) {
	aead, err := newAEAD((*s.roots.Load())[0], name)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	sealed := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(text)+aead.Overhead())
	sealed[0] = format
	rand.Read(sealed[1:])
	sealed = aead.Seal(sealed, sealed[1:], text, sealed[:1])
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open decrypts the result of seal. It tries all secrets.
func (s *Sealer) open(format byte, name, sealed string) (text []byte, ok bool) {
	if len(sealed) > maxSealed {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) == 0 || raw[0] != format {
		return nil, false
	}
	for _, root := range *s.roots.Load() {
		aead, err := newAEAD(root, name)
		if err != nil {
			return nil, false
		}
		n := 1 + aead.NonceSize()
		if len(raw) < n {
			return nil, false
		}
		if text, err := aead.Open(nil, raw[1:n], raw[n:], raw[:1]); err == nil {
			return text, true
		}
	}
	return nil, false
}

// parseKey decodes the plaintext of a resume key.
func parseKey(session string, text []byte) (ResumeClaims, error) {
	var plain sealedKey
	if err := json.Unmarshal(text, &plain); err != nil {
		return ResumeClaims{}, fmt.Errorf("open resume key: %w", err)
	}
	k := ResumeClaims{
		Session: session, App: plain.App, Subject: plain.Subject, Epoch: plain.Epoch, ApprovedAt: plain.ApprovedAt,
		Terms: Terms{TTL: time.Duration(plain.TTLSeconds) * time.Second, Until: plain.Until, MayPublish: plain.MayPublish, Format: plain.Format},
	}
	if r := plain.RTC; r != nil {
		k.Identity.RTC = &RTC{Channel: r.Channel, UID: r.UID, Account: r.Account, Role: r.Role}
	}
	if r := plain.RTM; r != nil {
		k.Identity.RTM = &RTM{UserID: r.UserID}
	}
	if r := plain.Chat; r != nil {
		k.Identity.Chat = &Chat{UserID: r.UserID}
	}
	return k, nil
}

// newAEAD returns the cipher for a name, with its own encryption key. For resume keys, the name is
// the session's id.
func newAEAD(root []byte, name string) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, root)
	mac.Write([]byte(name))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
