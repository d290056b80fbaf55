package agora

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash/crc32"
)

// Verify returns these errors. Clients may see their texts.
var (
	ErrSignature = errors.New("signature does not match: another certificate, or the token was changed")
	ErrChannel   = errors.New("token is for another channel")
	ErrUser      = errors.New("token is for another user")
	ErrNoHolder  = errors.New("006 token contains only checksums of the names; want its channel and user")
)

// Holder is the client that presents a token.
type Holder struct {
	// Channel is the channel of an RTC token.
	Channel string
	// User is the uid in decimal or the account for an RTC token (see session.RTC.User), and
	// the user id for the other services.
	User string
}

// Verify checks that a parsed token was signed with certificate (else ErrSignature) and that it is
// for h (else ErrChannel or ErrUser). It compares signatures in constant time, and does not check
// expiry.
//
// A 007 token contains its channel and user: Verify compares the non-empty fields of h with the
// token's first service, so if h is empty, Verify checks only the signature. A 006 token contains
// only checksums of its channel and user, and its signature covers both, so h must be complete; if
// h is empty, the error is ErrNoHolder. In both formats an RTC token for uid 0 fits every user.
func (t *Token) Verify(certificate string, h Holder) error {
	if t.Version == V006 {
		return t.verify006(certificate, h)
	}
	return t.verify007(certificate, h)
}

func (t *Token) verify007(certificate string, h Holder) error {
	key := signingKey(certificate, uint32(t.IssuedAt), t.Salt)
	signature := hmacSHA256(key[:], t.signed)
	if !hmac.Equal(signature[:], t.signature) {
		return ErrSignature
	}
	if len(t.Services) == 0 {
		return nil
	}
	s := t.Services[0]
	if s.Type == ServiceRTC && h.Channel != "" && h.Channel != s.Channel {
		return ErrChannel
	}
	if s.User != "" && h.User != "" && h.User != s.User {
		return ErrUser
	}
	return nil
}

func (t *Token) verify006(certificate string, h Holder) error {
	if h == (Holder{}) {
		return ErrNoHolder
	}
	channel, user, wrongChannel := h.Channel, h.User, ErrChannel
	if t.Services[0].Type == ServiceRTM {
		channel, user, wrongChannel = h.User, "", ErrUser
	}
	if crc32.ChecksumIEEE([]byte(channel)) != t.Checksums.Channel {
		return wrongChannel
	}
	if crc32.ChecksumIEEE([]byte(user)) != t.Checksums.User {
		if t.Checksums.User != 0 { // 0 is the checksum of an empty name, which means uid 0
			return ErrUser
		}
		user = ""
	}
	// hmacSHA256 cannot be used here: its keys have at most one block, and a certificate from a caller may be longer.
	mac := hmac.New(sha256.New, []byte(certificate))
	mac.Write([]byte(t.AppID + channel + user))
	mac.Write(t.signed)
	if !hmac.Equal(mac.Sum(nil), t.signature) {
		return ErrSignature
	}
	return nil
}
