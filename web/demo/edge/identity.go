package edge

import "strings"

// Leg is one Agora service of a client, which logs in to each service with a token of its own.
type Leg string

// The legs of a call.
const (
	RTC  Leg = "rtc"  // audio and video in a channel
	RTM  Leg = "rtm"  // signalling
	Chat Leg = "chat" // messages
)

// anonymous is the RTC user that lets Agora choose the uid. Only a token with an empty uid, which is for any uid,
// admits this user.
const anonymous = "0"

// identity is the key of a call in the record.
type identity struct {
	leg     Leg
	channel string // empty for RTM and Chat
	user    string // a uid in decimal or a user account; a uid and an account of the same text are one user
}

// Limits in bytes, from Agora's documentation.
const (
	maxChannel = 64
	maxAccount = 255
	maxRTMUser = 64
)

// identity checks the names in the request, as an SDK would before it sends the token.
func (r JoinRequest) identity() (identity, *Error) {
	who := identity{leg: r.Leg, channel: r.Channel, user: r.User}
	switch r.Leg {
	case RTC:
		if !isName(r.Channel, maxChannel) {
			return who, refuse(CodeInvalidParams, "channel %.80q is not 1 to %d of the bytes that Agora takes", r.Channel, maxChannel)
		}
		if r.User == "" {
			who.user = anonymous
		}
		if !isName(who.user, maxAccount) {
			return who, refuse(CodeInvalidParams, "user %.80q is not 1 to %d of the bytes that Agora takes", r.User, maxAccount)
		}
	case RTM, Chat:
		limit := maxAccount
		if r.Leg == RTM {
			limit = maxRTMUser
		}
		if r.Channel != "" {
			return who, refuse(CodeInvalidParams, "a login to %s has no channel", r.Leg)
		}
		if !isName(r.User, limit) {
			return who, refuse(CodeInvalidParams, "user %.80q is not 1 to %d of the bytes that Agora takes", r.User, limit)
		}
		if r.Leg == RTM && (strings.HasPrefix(r.User, "_") || r.User == "null") {
			return who, refuse(CodeInvalidParams, "user %q is reserved in rtm", r.User)
		}
	default:
		return who, refuse(CodeInvalidParams, "leg %.20q is none of rtc, rtm, chat", string(r.Leg))
	}
	return who, nil
}

// isName reports whether s has 1 to `limit` bytes, all of them characters that Agora allows in names of channels and
// users.
func isName(s string, limit int) bool {
	if len(s) < 1 || len(s) > limit {
		return false
	}
	for i := range len(s) {
		b := s[i]
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case strings.IndexByte(" !#$%&()+-:;<=.>?@[]^_{|}~,", b) >= 0:
		default:
			return false
		}
	}
	return true
}
