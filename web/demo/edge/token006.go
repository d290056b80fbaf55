package edge

import (
	"crypto/hmac"
	"hash/crc32"
)

// token006 is a token of the older version: "006", the App ID, and the base64 of a signature, a CRC of the channel, a
// CRC of the uid, and a message. The channel and the uid are signed but not contained, so the token can be verified
// only for a given channel and uid.
type token006 struct {
	appID      string
	signature  []byte
	crcChannel uint32
	crcUID     uint32
	message    []byte // the signed part, with salt, ts and privileges
	salt       uint32
	ends       uint32 // the field ts: expiry of the token in Unix seconds, which builders set to 24 h after the issue
	privileges map[uint16]uint32
}

const appIDLength = 32

// These are the privileges to join in RTC and to log in to RTM. Chat has no 006 tokens.
const (
	join006RTC = 1
	join006RTM = 1000
)

func parse006(token string) (token006, *Error) {
	var t token006
	if len(token) < len("006")+appIDLength {
		return t, invalid("the token is cut short")
	}
	rest := token[len("006"):]
	t.appID = rest[:appIDLength]
	raw, err := decode(rest[appIDLength:])
	if err != nil {
		return t, err
	}
	s := scan{rest: raw}
	t.signature = s.bytes()
	t.crcChannel, t.crcUID = s.u32(), s.u32()
	t.message = s.bytes()
	m := scan{rest: t.message}
	t.salt, t.ends = m.u32(), m.u32()
	t.privileges = m.privileges()
	if !s.whole() || !m.whole() {
		return t, invalid("the token's fields are cut short, doubled or followed by more")
	}
	return t, nil
}

// signedBy reports whether the certificate has signed the token for this channel and uid.
func (t token006) signedBy(certificate, channel, uid string) bool {
	message := append([]byte(t.appID+channel+uid), t.message...)
	return hmac.Equal(sign([]byte(certificate), message), t.signature)
}

func (k keyring) verify006(token string, who identity) (grant, *Error) {
	t, err := parse006(token)
	if err != nil {
		return grant{}, err
	}
	if err := k.checkApp(t.appID); err != nil {
		return grant{}, err
	}
	// An RTM token has the user in the place of the channel.
	channel, uid, join := who.channel, who.user, uint16(join006RTC)
	switch who.leg {
	case RTC:
	case RTM:
		channel, uid, join = who.user, "", join006RTM
	default:
		return grant{}, invalid("a 006 token cannot be for chat")
	}
	if crc32.ChecksumIEEE([]byte(channel)) != t.crcChannel {
		if who.leg == RTM {
			return grant{}, invalid("the token is not for user %q", who.user)
		}
		return grant{}, invalid("the token is not for channel %q", who.channel)
	}
	var uids []string
	if uid != anonymous && crc32.ChecksumIEEE([]byte(uid)) == t.crcUID {
		uids = append(uids, uid)
	}
	if t.crcUID == 0 && uid != "" { // a CRC of 0 stands for the empty uid, which admits any user
		uids = append(uids, "")
	}
	if len(uids) == 0 {
		return grant{}, invalid("the token is not for user %q", who.user)
	}
	for _, uid := range uids {
		for _, certificate := range k.certificates {
			if t.signedBy(certificate, channel, uid) {
				return newGrant(int64(t.ends), t.absolute(), join)
			}
		}
	}
	return grant{}, invalid("the token's signature is wrong")
}

// absolute returns the expiries of the privileges, in Unix seconds.
func (t token006) absolute() map[uint16]int64 {
	ends := make(map[uint16]int64, len(t.privileges))
	for privilege, at := range t.privileges {
		ends[privilege] = int64(at)
		if at == 0 {
			ends[privilege] = never
		}
	}
	return ends
}
