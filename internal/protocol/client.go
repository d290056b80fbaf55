package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"refresher/internal/session"
)

// Types of messages from client to server.
const (
	TypeJoin   = "join"
	TypeResume = "resume"
	TypeAck    = "ack"
	TypeNack   = "nack"
	TypeRenew  = "renew"
	TypeLeave  = "leave"
	TypePing   = "ping"
)

// ClientMessage is any message from a client. Type decides which fields the service reads. It ignores all other fields,
// known or unknown.
type ClientMessage struct {
	Type string `json:"type"`

	// join
	Auth string `json:"auth,omitempty"`
	RTC  *RTC   `json:"rtc,omitempty"`
	RTM  *User  `json:"rtm,omitempty"`
	Chat *User  `json:"chat,omitempty"`
	TTL  *int64 `json:"ttl,omitempty"` // seconds
	// TokenFormat is nil if the client leaves the choice to its credential or to the operator.
	TokenFormat *session.Format `json:"tokenFormat,omitempty"`

	// resume
	Session   string          `json:"session,omitempty"`
	Key       string          `json:"key,omitempty"`
	ExpiresAt session.UnixSec `json:"expiresAt,omitempty"`

	// in resume, ack and nack messages
	Seq *uint64 `json:"seq,omitempty"`

	// nack
	Code    SDKCode `json:"code,omitempty"`
	Message string  `json:"message,omitempty"`
}

// RTC is the rtc object of a join message. It has either a uid or an account.
type RTC struct {
	Channel string       `json:"channel"`
	UID     *uint32      `json:"uid,omitempty"`
	Account *string      `json:"account,omitempty"`
	Role    session.Role `json:"role"`
}

// User is the rtm or chat object of a join message.
type User struct {
	UserID string `json:"userId"`
}

// SDKCode is an error code of an Agora SDK. The web SDK has strings as error codes; the other SDKs have numbers.
type SDKCode string

// UnmarshalJSON accepts a JSON string or number.
func (c *SDKCode) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(c))
	}
	var n json.Number
	if err := json.Unmarshal(text, &n); err != nil {
		return session.Errorf(session.CodeBadRequest, "code: want a string or a number")
	}
	*c = SDKCode(n)
	return nil
}

// wants maps each field to a description of a valid value, for error messages.
var wants = map[string]string{
	"type":        "a string, such as \"join\"",
	"rtc":         "an object with channel and uid or account",
	"rtc.channel": "a string",
	"rtc.uid":     "an integer from 0 to 4294967295 (a string goes into account)",
	"rtc.account": "a string",
	"rtc.role":    "\"publisher\" or \"subscriber\"",
	"rtm":         "an object with userId",
	"rtm.userId":  "a string",
	"chat":        "an object with userId",
	"chat.userId": "a string",
	"ttl":         "a whole number of seconds",
	"tokenFormat": "\"007\", \"006\" or \"007-single\"",
	"seq":         "a whole number, not negative",
	"session":     "the session of the last joined message",
	"key":         "the key of the last joined message",
	"expiresAt":   "Unix seconds",
	"auth":        "a string",
	"message":     "a string",
}

// DecodeClient decodes one message from a client. The error says what is wrong, and what a valid message would have.
func DecodeClient(data []byte) (ClientMessage, *session.Error) {
	var m ClientMessage
	err := json.Unmarshal(data, &m)
	var refused *session.Error
	var typed *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		return m, refused
	case errors.As(err, &typed) && wants[typed.Field] != "":
		return m, session.Errorf(session.CodeBadRequest, "%s: want %s, have a JSON %s", typed.Field, wants[typed.Field], typed.Value)
	case errors.As(err, &typed):
		return m, session.Errorf(session.CodeBadRequest, "want one JSON object with a type, have a JSON %s", typed.Value)
	default:
		return m, session.Errorf(session.CodeBadRequest, "not JSON: %v", err)
	}
	if m.Type == "" {
		return m, session.Errorf(session.CodeBadRequest, "type: missing; the first message is a join or a resume")
	}
	return m, nil
}

// Join converts m to a join request.
func (m *ClientMessage) Join() (session.Join, *session.Error) {
	var j session.Join
	if r := m.RTC; r != nil {
		rtc := session.RTC{Channel: r.Channel, Role: r.Role}
		switch {
		case r.UID != nil && r.Account != nil:
			return j, session.Errorf(session.CodeBadRequest, "rtc: has both uid and account; give one")
		case r.UID != nil:
			rtc.UID = *r.UID
		case r.Account != nil && *r.Account != "":
			rtc.Account = *r.Account
		case r.Account != nil:
			return j, session.Errorf(session.CodeBadRequest, "rtc.account: is empty; want 1 to 255 bytes")
		default:
			return j, session.Errorf(session.CodeBadRequest, "rtc: has neither uid nor account; give one (uid 0 is a token for any uid)")
		}
		j.Identity.RTC = &rtc
	}
	if r := m.RTM; r != nil {
		j.Identity.RTM = &session.RTM{UserID: r.UserID}
	}
	if r := m.Chat; r != nil {
		if r.UserID == "" { // to the minter, an empty name means Chat's app token, which only back ends may have
			return j, session.Errorf(session.CodeBadRequest, "chat.userId: is missing or empty")
		}
		j.Identity.Chat = &session.Chat{UserID: r.UserID}
	}
	if j.Identity == (session.Identity{}) {
		return j, session.Errorf(session.CodeBadRequest, "join: names no service; give at least one of rtc, rtm and chat")
	}
	if m.TTL != nil {
		const most = int64(session.MaxLifetime / time.Second)
		if *m.TTL <= 0 || *m.TTL > most {
			return j, session.Errorf(session.CodeBadRequest, "ttl: want 1 to %d seconds, have %d", most, *m.TTL)
		}
		j.TTL = time.Duration(*m.TTL) * time.Second
	}
	j.Format = m.TokenFormat
	return j, nil
}

// Resume converts m to a resume request.
func (m *ClientMessage) Resume() (session.Resume, *session.Error) {
	if m.Session == "" || m.Key == "" {
		return session.Resume{}, session.Errorf(session.CodeBadRequest, "resume: want session and key, as the last joined message gave them")
	}
	r := session.Resume{Session: m.Session, Key: m.Key, ExpiresAt: m.ExpiresAt}
	if m.Seq != nil {
		r.Seq = *m.Seq
	}
	return r, nil
}

// Answer returns the seq of an ack or a nack.
func (m *ClientMessage) Answer() (uint64, *session.Error) {
	if m.Seq == nil {
		return 0, session.Errorf(session.CodeBadRequest, "%s.seq: missing; want the seq of the tokens that it answers", m.Type)
	}
	return *m.Seq, nil
}

// SDKError returns the SDK's error code and message from a nack, for the log. Both are cut to a
// maximum length, and tokens in them are replaced by an ellipsis.
func (m *ClientMessage) SDKError() (code, message string) {
	return clip(opaque.ReplaceAllString(string(m.Code), "…"), 64), clip(opaque.ReplaceAllString(m.Message, "…"), 256)
}

// opaque matches words that are long enough to be a token or a resume key.
var opaque = regexp.MustCompile(`[A-Za-z0-9+/=_.%-]{40,}`)

func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// UnknownType returns the error for a message whose type is not in the protocol.
func UnknownType(t string) *session.Error {
	return session.Errorf(session.CodeUnknownType, "type %s: want join, resume, ack, nack, renew, leave or ping", fmt.Sprintf("%.32q", t))
}
