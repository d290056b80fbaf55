package session

import "strconv"

// Role is the privilege that an RTC token carries.
type Role uint8

const (
	// Subscriber may join a channel and receive.
	Subscriber Role = iota
	// Publisher may also send audio, video and data.
	Publisher
)

// String returns the role's name in messages.
func (r Role) String() string {
	if r == Publisher {
		return "publisher"
	}
	return "subscriber"
}

// MarshalText implements encoding.TextMarshaler.
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

// AnyChannel is Agora's wildcard channel. A token for it works in every channel of the project.
const AnyChannel = "*"

// RTC requests an RTC token for one user in one channel, or in [AnyChannel]. The user is the string
// Account or, if Account is empty, the numeric UID. UID 0 is Agora's wildcard: the token works for
// any uid.
type RTC struct {
	Channel string
	UID     uint32
	Account string
	Role    Role
}

// User returns the user's name as it stands in Agora's tokens: the account, or the uid in decimal,
// or "" for uid 0.
func (r RTC) User() string {
	if r.Account != "" {
		return r.Account
	}
	if r.UID == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(r.UID), 10)
}

// RTM requests a Signaling token for one user.
type RTM struct {
	UserID string
}

// Chat requests a Chat token for one user. An empty UserID requests the application token, which
// only the endpoints of the classic token servers can return.
type Chat struct {
	UserID string
}

// Identity names the users, by service, for whom a session's tokens are made. The field of a
// service that was not requested is nil; at least one field is set. Only the RTC role can change
// while the session is open.
type Identity struct {
	RTC  *RTC
	RTM  *RTM
	Chat *Chat
}

// Tokens is one bundle: a token for each service of an Identity, and "" for the other services. The
// tokens and their privileges all expire at ExpiresAt.
type Tokens struct {
	RTC, RTM, Chat string
	ExpiresAt      UnixSec
	// Certificate is the certificate that signed the tokens; 0 means unknown.
	Certificate Fingerprint
}
