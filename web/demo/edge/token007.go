package edge

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"encoding/binary"
	"io"
)

// token007 is a token of the current version: "007" and the base64 of a zlib stream with a signature and a body.
type token007 struct {
	signature []byte
	body      []byte // the signed part, which is all but the signature
	appID     string
	issued    uint32 // Unix seconds
	expire    uint32 // seconds after `issued`; with 0 the token has expired from the start
	salt      uint32
	services  map[uint16]service007
}

// service007 has the grants of a token for one service.
type service007 struct {
	privileges map[uint16]uint32 // seconds after `issued`; 0 means that the privilege never expires
	names      []string          // further fields, which depend on the service, such as channel and uid, or user id
}

// These are the types of services. The simulated edge serves three of them. It parses the others only to skip them,
// since one token may have several services.
const (
	serviceRTC       = 1
	serviceRTM       = 2
	serviceStreaming = 3
	serviceFPA       = 4
	serviceChat      = 5
	serviceFCDN      = 6
	serviceAPaaS     = 7
)

// join007 is the privilege to join in RTC, to log in to RTM, and to be a user of Chat. Chat's other privilege, 2, is
// for servers, and admits no user.
const join007 = 1

// maxInflated is the largest size of an inflated token, in bytes. The largest valid token has less than 2 KiB.
const maxInflated = 8 << 10

func parse007(token string) (token007, *Error) {
	var t token007
	raw, err := decode(token[len("007"):])
	if err != nil {
		return t, err
	}
	plain, err := inflate(raw)
	if err != nil {
		return t, err
	}
	s := scan{rest: plain}
	t.signature = s.bytes()
	t.body = s.rest
	t.appID = string(s.bytes())
	t.issued, t.expire, t.salt = s.u32(), s.u32(), s.u32()
	t.services = make(map[uint16]service007)
	for range s.u16() {
		kind := s.u16()
		service := service007{privileges: s.privileges()}
		names := 0
		switch kind {
		case serviceFPA:
		case serviceRTM, serviceChat:
			names = 1
		case serviceRTC, serviceStreaming, serviceFCDN, serviceAPaaS:
			names = 2
		default:
			// The length of an unknown service is unknown, so parsing ends here.
			if !s.bad {
				return t, invalid("service type %d is unknown", kind)
			}
		}
		for range names {
			service.names = append(service.names, string(s.bytes()))
		}
		if kind == serviceAPaaS {
			s.u16() // role
		}
		if _, twice := t.services[kind]; twice || s.bad {
			s.bad = true
			break
		}
		t.services[kind] = service
	}
	if !s.whole() {
		return t, invalid("the token's fields are cut short, doubled or followed by more")
	}
	return t, nil
}

// inflate decompresses a zlib stream. It refuses more than maxInflated bytes of output, and input after the end of the
// stream.
func inflate(raw []byte) ([]byte, *Error) {
	source := bytes.NewReader(raw)
	z, err := zlib.NewReader(source)
	if err != nil {
		return nil, invalid("the token is not zlib")
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxInflated+1))
	switch {
	case err != nil:
		return nil, invalid("the token's zlib stream is broken")
	case len(plain) > maxInflated:
		return nil, invalid("the token inflates to more than %d bytes", maxInflated)
	case source.Len() > 0:
		return nil, invalid("the token's zlib stream is followed by more")
	}
	return plain, nil
}

func (t token007) signedBy(certificate string) bool {
	issued := binary.LittleEndian.AppendUint32(nil, t.issued)
	salt := binary.LittleEndian.AppendUint32(nil, t.salt)
	key := sign(salt, sign(issued, []byte(certificate)))
	return hmac.Equal(sign(key, t.body), t.signature)
}

// anyChannel is the channel of a token for all channels.
const anyChannel = "*"

func (k keyring) verify007(token string, who identity) (grant, *Error) {
	t, err := parse007(token)
	if err != nil {
		return grant{}, err
	}
	if err := k.checkApp(t.appID); err != nil {
		return grant{}, err
	}
	signed := false
	for _, certificate := range k.certificates {
		signed = signed || t.signedBy(certificate)
	}
	if !signed {
		return grant{}, invalid("the token's signature is wrong")
	}
	kind := map[Leg]uint16{RTC: serviceRTC, RTM: serviceRTM, Chat: serviceChat}[who.leg]
	service, ok := t.services[kind]
	if !ok {
		return grant{}, invalid("the token is not for %s", who.leg)
	}
	user := service.names[0]
	if who.leg == RTC {
		if channel := service.names[0]; channel != who.channel && channel != anyChannel {
			return grant{}, invalid("the token is for channel %.80q, not %q", channel, who.channel)
		}
		user = service.names[1]
	}
	anyUser := who.leg == RTC && user == ""
	if !anyUser && who.leg == RTC && who.user == anonymous {
		return grant{}, invalid("the token is for user %.80q; with uid 0 only one with an empty uid admits", user)
	}
	if !anyUser && user != who.user {
		return grant{}, invalid("the token is for user %.80q, not %q", user, who.user)
	}
	// Agora accepts a token whose lifetime is longer than a day, but lets it expire after a day.
	ends := make(map[uint16]int64, len(service.privileges))
	for privilege, after := range service.privileges {
		ends[privilege] = int64(t.issued) + min(int64(after), maxLifeSeconds)
		if after == 0 {
			ends[privilege] = never
		}
	}
	return newGrant(int64(t.issued)+min(int64(t.expire), maxLifeSeconds), ends, join007)
}
