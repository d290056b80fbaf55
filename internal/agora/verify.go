package agora

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash/crc32"
)

// What Verify may find wrong. The texts are fit for callers to see.
var (
	ErrSignature = errors.New("signature does not match: another certificate, or the token was changed")
	ErrChannel   = errors.New("token is for another channel")
	ErrUser      = errors.New("token is for another user")
	ErrNoHolder  = errors.New("006 token holds no names, only their checksums; want its channel and user, to check it with")
)

// Holder is whom a token is presented for.
type Holder struct {
	// Channel, for an RTC token.
	Channel string
	// User is the uid in decimal or the account for an RTC token, as
	// session.RTC.User has it, and the user id for the other services.
	User string
}

// Verify checks that a parsed token was signed with certificate (or else
// ErrSignature) and that it is for h (or else ErrChannel, ErrUser). Signatures
// are compared in constant time. It looks at no clock.
//
// A 007 token carries its names: what h gives is compared with the first
// service, and an empty h asks for the signature alone. A 006 token signs its
// names but carries only checksums of them, so h has to be complete; an empty
// one is ErrNoHolder. In either format an RTC token for uid 0 is for everyone.
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
		if t.Checksums.User != 0 { // the sum of nothing, for uid 0
			return ErrUser
		}
		user = ""
	}
	// crypto/hmac, since the certificate is the key here and may be any text.
	mac := hmac.New(sha256.New, []byte(certificate))
	mac.Write([]byte(t.AppID + channel + user))
	mac.Write(t.signed)
	if !hmac.Equal(mac.Sum(nil), t.signature) {
		return ErrSignature
	}
	return nil
}
