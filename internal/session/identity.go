package session

import "strconv"

// Role is what an RTC token lets its holder do. The zero value is the lesser
// one.
type Role uint8

const (
	// Subscriber joins and receives.
	Subscriber Role = iota
	// Publisher also sends audio, video and data.
	Publisher
)

// String returns the role's word on the wire.
func (r Role) String() string {
	if r == Publisher {
		return "publisher"
	}
	return "subscriber"
}

// MarshalText writes the role's word.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "publisher" or "subscriber".
func (r *Role) UnmarshalText(text []byte) error {
	switch string(text) {
	case "publisher":
		*r = Publisher
	case "subscriber":
		*r = Subscriber
	default:
		return Errorf(CodeBadRequest, `rtc.role: want "publisher" or "subscriber"`)
	}
	return nil
}

// AnyChannel is Agora's wildcard channel: a token for it works in every channel of the
// project.
const AnyChannel = "*"

// RTC asks for a token to one channel, or to [AnyChannel], as one user: a numeric uid,
// or a string user account when Account is not empty. Uid 0 is Agora's wildcard: such
// a token works for any uid.
type RTC struct {
	Channel string
	UID     uint32
	Account string
	Role    Role
}

// User is the user's name as Agora's tokens carry it: the account, or the uid
// in decimal, or empty for uid 0.
func (r RTC) User() string {
	if r.Account != "" {
		return r.Account
	}
	if r.UID == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(r.UID), 10)
}

// RTM asks for a Signaling token of one user.
type RTM struct {
	UserID string
}

// Chat asks for a Chat token of one user. An empty UserID is the application
// token, which only the classic endpoints hand out.
type Chat struct {
	UserID string
}

// Identity is who a session's tokens are for: one to three services, nil for
// those not asked for. It is immutable once a session is open, but for the
// RTC role.
type Identity struct {
	RTC  *RTC
	RTM  *RTM
	Chat *Chat
}

// Tokens is one bundle: a token for each service of an Identity, empty for
// the others. All of its tokens expire together, at ExpiresAt,
// and so do the privileges in them.
type Tokens struct {
	RTC, RTM, Chat string
	ExpiresAt      UnixSec
	// Certificate signed them; 0 is not known.
	Certificate Fingerprint
}
