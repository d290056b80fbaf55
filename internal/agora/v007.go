package agora

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/adler32"
	"strconv"

	"github.com/AgoraIO/Tools/DynamicKey/AgoraDynamicKey/go/src/accesstoken2"

	"refresher/internal/session"
)

// These are the sizes, in bytes, of the parts of the largest token that passes validation: for RTC and RTM, as a
// publisher with the longest channel and account. Buffers on the stack have these sizes.
const (
	headSize  = 2 + hexDigits + 4 + 4 + 4
	maxRTC    = 2 + 2 + 4*(2+4) + 2 + maxChannel + 2 + maxAccount
	maxRTM    = 2 + 2 + 1*(2+4) + 2 + maxRTMUser
	maxBody   = headSize + 2 + maxRTC + maxRTM
	maxStream = 2 + 5 + 2 + sha256.Size + maxBody + 4
	maxText   = len(V007) + (maxStream+2)/3*4
)

var (
	publisherPrivileges = []uint16{
		accesstoken2.PrivilegeJoinChannel,
		accesstoken2.PrivilegePublishAudioStream,
		accesstoken2.PrivilegePublishVideoStream,
		accesstoken2.PrivilegePublishDataStream,
	}
	subscriberPrivileges = []uint16{accesstoken2.PrivilegeJoinChannel}
	// streamPrivileges are the privileges of the RTC service in a token for a stream channel. Messages in a stream
	// channel use the data stream.
	streamPrivileges = []uint16{
		accesstoken2.PrivilegeJoinChannel,
		accesstoken2.PrivilegePublishDataStream,
	}
	rtmPrivileges      = []uint16{accesstoken2.PrivilegeLogin}
	chatUserPrivileges = []uint16{accesstoken2.PrivilegeChatUser}
	chatAppPrivileges  = []uint16{accesstoken2.PrivilegeChatApp}
)

// envelope has the parts that all 007 tokens of one bundle share: the signing key, and the body up
// to the service count.
type envelope struct {
	key      [sha256.Size]byte
	head     [headSize]byte
	lifetime uint32 // lifetime of the token and of each privilege, in seconds
}

func newEnvelope(appID, certificate string, issuedAt, lifetime, salt uint32) envelope {
	e := envelope{key: signingKey(certificate, issuedAt, salt), lifetime: lifetime}
	head := appendString(e.head[:0], appID)
	head = binary.LittleEndian.AppendUint32(head, issuedAt)
	head = binary.LittleEndian.AppendUint32(head, lifetime)
	binary.LittleEndian.AppendUint32(head, salt)
	return e
}

// signingKey derives the key that signs a 007 body.
func signingKey(certificate string, issuedAt, salt uint32) [sha256.Size]byte {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], issuedAt)
	key := hmacSHA256(n[:], []byte(certificate))
	binary.LittleEndian.PutUint32(n[:], salt)
	return hmacSHA256(n[:], key[:])
}

// rtcPrivileges returns the privileges of an RTC token for a role.
func rtcPrivileges(r session.Role) []uint16 {
	if r == session.Publisher {
		return publisherPrivileges
	}
	return subscriberPrivileges
}

func (e *envelope) rtc(r session.RTC) string {
	var buf [maxBody]byte
	body := e.open(buf[:0], 1)
	body = e.appendRTC(body, r, rtcPrivileges(r.Role))
	return e.seal(body)
}

func (e *envelope) rtm(r session.RTM) string {
	var buf [maxBody]byte
	body := e.open(buf[:0], 1)
	body = e.appendRTM(body, r)
	return e.seal(body)
}

// rtcAndRTM makes one token for both services.
func (e *envelope) rtcAndRTM(c session.RTC, privileges []uint16, m session.RTM) string {
	var buf [maxBody]byte
	body := e.open(buf[:0], 2)
	body = e.appendRTC(body, c, privileges)
	body = e.appendRTM(body, m)
	return e.seal(body)
}

func (e *envelope) chat(c session.Chat) string {
	privileges := chatUserPrivileges
	if c.UserID == "" {
		privileges = chatAppPrivileges
	}
	var buf [maxBody]byte
	body := e.open(buf[:0], 1)
	body = e.appendService(body, accesstoken2.ServiceTypeChat, privileges)
	body = appendString(body, c.UserID)
	return e.seal(body)
}

// open appends the start of a body: the header and the number of services. The caller must append the services in the
// order of their types.
func (e *envelope) open(b []byte, services uint16) []byte {
	b = append(b, e.head[:]...)
	return binary.LittleEndian.AppendUint16(b, services)
}

func (e *envelope) appendRTC(b []byte, r session.RTC, privileges []uint16) []byte {
	b = e.appendService(b, accesstoken2.ServiceTypeRtc, privileges)
	b = appendString(b, r.Channel)
	return appendUser(b, r)
}

func (e *envelope) appendRTM(b []byte, r session.RTM) []byte {
	b = e.appendService(b, accesstoken2.ServiceTypeRtm, rtmPrivileges)
	return appendString(b, r.UserID)
}

// appendService appends a service without its names. privileges must be in ascending order.
func (e *envelope) appendService(b []byte, service uint16, privileges []uint16) []byte {
	b = binary.LittleEndian.AppendUint16(b, service)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(privileges)))
	for _, p := range privileges {
		b = binary.LittleEndian.AppendUint16(b, p)
		b = binary.LittleEndian.AppendUint32(b, e.lifetime)
	}
	return b
}

// seal signs a body and returns the token.
func (e *envelope) seal(body []byte) string {
	signature := hmacSHA256(e.key[:], body)
	return encode(signature[:], body)
}

// encode returns the token's text: the version, and in base64 a zlib stream (RFC 1950) with the
// signature and the body in one stored deflate block (RFC 1951, 3.2.4).
func encode(signature, body []byte) string {
	var buf [maxStream]byte
	stream := append(buf[:0],
		0x78, 0x9c, // deflate with a 32 KiB window, default level, as zlib writes it
		0x01) // the last block, without compression
	size := uint16(2 + len(signature) + len(body))
	stream = binary.LittleEndian.AppendUint16(stream, size)
	stream = binary.LittleEndian.AppendUint16(stream, ^size)
	content := len(stream)
	stream = binary.LittleEndian.AppendUint16(stream, uint16(len(signature)))
	stream = append(stream, signature...)
	stream = append(stream, body...)
	stream = binary.BigEndian.AppendUint32(stream, adler32.Checksum(stream[content:]))

	var text [maxText]byte
	return string(base64.StdEncoding.AppendEncode(append(text[:0], V007...), stream))
}

// appendString appends the length of s, in 16 bits, and s. The length fits, since validation limits s to far less than
// 64 KiB.
func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendUser appends r.User() without allocating.
func appendUser(b []byte, r session.RTC) []byte {
	if r.Account != "" || r.UID == 0 {
		return appendString(b, r.Account)
	}
	at := len(b)
	b = strconv.AppendUint(append(b, 0, 0), uint64(r.UID), 10)
	binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}
