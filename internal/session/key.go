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

// ResumeClaims is the content of a resume key: all that a node must know to go on with a
// session without asking anyone.
type ResumeClaims struct {
	Session  string
	App      string
	Subject  string
	Identity Identity
	Terms    Terms
	// Epoch numbers the attachment that the key was handed out for, so that
	// the order of attachments travels with the client and needs no clock.
	// 0 is a session about to be joined.
	Epoch uint64
	// ApprovedAt is when the customer's back end last agreed to the session;
	// 0 if it was not asked.
	ApprovedAt UnixSec
}

// sealedKey is a Key's plaintext. Its field names are as good as a wire
// format: nodes of two releases read each other's keys.
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
	// keyFormat is the first byte of a sealed key, cursorFormat of a sealed cursor.
	keyFormat    = 1
	cursorFormat = 2
	// keyInfo separates this use of the secret from any other.
	keyInfo = "refresher resume key 1"
	// minSecret is the fewest bytes that a secret may have.
	minSecret = 16
	// maxSealed bounds what Open looks at. The longest key that Seal makes
	// is under 3.5 KiB.
	maxSealed = 4096
)

// Sealer seals and opens resume keys: AES-256-GCM under a key of the session's
// own, which is HMAC-SHA256 of its id under a key derived from the secret by
// HKDF-SHA256. One key per session binds what is sealed to its session, and
// keeps the number of random nonces under any one key far from where they could
// repeat. All nodes that share the secret can open each other's keys. It is
// safe for concurrent use.
type Sealer struct {
	roots atomic.Pointer[[][]byte] // derived from the secrets; the first one seals, all open
}

// NewSealer makes a Sealer that seals under the first secret and opens under
// any, so that a secret can be replaced while keys sealed under it are out.
// Each wants at least 16 bytes.
func NewSealer(secrets ...[]byte) (*Sealer, error) {
	s := &Sealer{}
	return s, s.Use(secrets...)
}

// Use has other secrets in place of all before, from now on. On an error nothing
// has changed.
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

// Seal turns k into the opaque string that the client keeps.
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

// Open reads a sealed key of the session that the client names. Its error is
// ErrUnknown, whatever is wrong with the key.
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

// SealCursor encrypts the cursor of a listing for one project, since it may hold the id
// of another project's session.
func (s *Sealer) SealCursor(app, cursor string) (string, error) {
	return s.seal(cursorFormat, cursorName(app), []byte(cursor))
}

// OpenCursor undoes SealCursor, on any node that shares the secret. ok is false if the
// text was not sealed for this project.
func (s *Sealer) OpenCursor(app, sealed string) (cursor string, ok bool) {
	text, ok := s.open(cursorFormat, cursorName(app), sealed)
	return string(text), ok
}

// cursorName is the name that a project's cursors are sealed under. No session id has
// a space.
func cursorName(app string) string { return "cursor " + app }

// seal encrypts text under the key of a name. What is sealed in one format does not
// open in another.
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

// open undoes seal, under any of the secrets.
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

// parseKey reads a plaintext that some node sealed.
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

// newAEAD is the cipher for what is sealed under a name: a session's id, for its keys.
func newAEAD(root []byte, name string) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, root)
	mac.Write([]byte(name))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
