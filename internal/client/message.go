package client

import (
	"encoding/json"
	"errors"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Message is any message of the service. Fields that the message's type does not have are zero.
type Message struct {
	protocol.TokenPrivilege // its Type is set in every message, its other fields only in the message `joined` and pushes

	// These fields are set in the message `joined`.
	Session     string `json:"session"`
	Key         string `json:"key"`
	Resumed     bool   `json:"resumed"`
	Heartbeat   int64  `json:"heartbeat"`   // seconds
	RenewBefore int64  `json:"renewBefore"` // seconds

	// These fields are set in reconnect, ended and error messages.
	AfterMs      int64           `json:"afterMs"`
	Reason       string          `json:"reason"`
	AccessEndsAt session.UnixSec `json:"accessEndsAt"`
	Code         session.Code    `json:"code"`
	Message      string          `json:"message"`

	// Expires is when the tokens of the message expire, on the clock of the Machine's caller. The Machine computes it.
	Expires time.Time `json:"-"`
}

// Decode decodes one message. A field with an unexpected JSON type is treated as missing, since a newer version of the
// service may have changed the type.
func Decode(data []byte) (*Message, error) {
	m := new(Message)
	err := json.Unmarshal(data, m)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = nil
	}
	return m, err
}

// ExpiresAt returns when the tokens of the message expire; 0 if the message has no tokens.
func (m *Message) ExpiresAt() session.UnixSec {
	for _, t := range []*protocol.Token{m.Tokens.RTC, m.Tokens.RTM, m.Tokens.Chat} {
		if t != nil {
			return t.ExpiresAt
		}
	}
	return 0
}

func (m *Message) complete() bool {
	switch m.Type {
	case protocol.TypeJoined:
		return m.Session != "" && m.Key != "" && m.Seq > 0 && m.ExpiresAt() != 0
	case protocol.TypeWillExpire, protocol.TypeDidExpire:
		return m.Seq > 0 && m.ExpiresAt() != 0
	}
	return true
}
