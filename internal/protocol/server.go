package protocol

import (
	"time"

	"refresher/internal/session"
)

// Types of messages from server to client.
const (
	TypeJoined     = "joined"
	TypeWillExpire = "token-privilege-will-expire"
	TypeDidExpire  = "token-privilege-did-expire"
	TypeReconnect  = "reconnect"
	TypeEnded      = "ended"
	TypePong       = "pong"
	TypeError      = "error"
)

// Actions say what a client must do with the tokens of a message.
const (
	ActionRenew  = "renew"  // the client must pass the tokens to the SDK's renewToken
	ActionRejoin = "rejoin" // the client must join the call again with the tokens
)

// Reasons of a message `reconnect`.
const (
	ReasonDrain    = "drain"
	ReasonOverload = "overload"
)

// Token is one service's token.
type Token struct {
	Token     string          `json:"token"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// Tokens is a bundle in a message: a token for each service of the session.
type Tokens struct {
	RTC  *Token `json:"rtc,omitempty"`
	RTM  *Token `json:"rtm,omitempty"`
	Chat *Token `json:"chat,omitempty"`
}

// Joined is the answer to a join or a resume.
type Joined struct {
	Type        string            `json:"type"`
	Session     string            `json:"session"`
	Key         string            `json:"key"`
	Resumed     bool              `json:"resumed"`
	Action      string            `json:"action,omitempty"` // empty after a join
	Seq         uint64            `json:"seq"`
	Tokens      Tokens            `json:"tokens"`
	Heartbeat   int64             `json:"heartbeat"`   // seconds
	RenewBefore int64             `json:"renewBefore"` // seconds
	Now         session.UnixMilli `json:"now"`
}

// TokenPrivilege is the message with new tokens. Its type is token-privilege-will-expire, or
// token-privilege-did-expire if the previous tokens have expired.
type TokenPrivilege struct {
	Type              string            `json:"type"`
	Seq               uint64            `json:"seq"`
	Tokens            Tokens            `json:"tokens"`
	PreviousExpiresAt session.UnixSec   `json:"previousExpiresAt"` // 0 if unknown
	Action            string            `json:"action"`
	Attempt           int               `json:"attempt"`
	Cause             string            `json:"cause"`
	Now               session.UnixMilli `json:"now"`
}

// Reconnect is the message that tells the client to reconnect after AfterMs milliseconds.
type Reconnect struct {
	Type    string `json:"type"`
	AfterMs int64  `json:"afterMs"`
	Reason  string `json:"reason"`
}

// Ended is the message that the session has ended.
type Ended struct {
	Type         string            `json:"type"`
	Reason       session.EndReason `json:"reason"`
	AccessEndsAt session.UnixSec   `json:"accessEndsAt"` // 0 if unknown
}

// Pong is the answer to a ping.
type Pong struct {
	Type string            `json:"type"`
	Now  session.UnixMilli `json:"now"`
}

// Error is an error message.
type Error struct {
	Type    string       `json:"type"`
	Code    session.Code `json:"code"`
	Message string       `json:"message"`
}

// FromTokens converts t to its JSON form.
func FromTokens(t session.Tokens) Tokens {
	token := func(s string) *Token {
		if s == "" {
			return nil
		}
		return &Token{Token: s, ExpiresAt: t.ExpiresAt}
	}
	return Tokens{RTC: token(t.RTC), RTM: token(t.RTM), Chat: token(t.Chat)}
}

// FromJoined converts j to its JSON form. The argument `heartbeat` is the longest interval of pings, from the flag
// --heartbeat; the function Heartbeat computes this client's interval.
func FromJoined(j session.Joined, heartbeat time.Duration) Joined {
	m := Joined{
		Type: TypeJoined, Session: j.Session, Key: j.Key, Resumed: j.Resumed, Seq: j.Seq,
		Tokens: FromTokens(j.Tokens), Now: j.Now,
		Heartbeat: int64(Heartbeat(heartbeat, j.RenewBefore) / time.Second), RenewBefore: int64(j.RenewBefore / time.Second),
	}
	if j.Resumed {
		m.Action = action(j.Rejoin)
	}
	return m
}

// Heartbeat returns the interval of a client's pings, in whole seconds: a sixth of the head start, which is the time
// between a renewal and the expiry of the tokens before it, but at least one second and at most `longest`. A client
// waits at most two heartbeats for the answer to a ping (client.Patience). With a head start of 6 s or more, it therefore
// detects a dead connection within half of the head start, and has the other half to reconnect before its tokens expire.
func Heartbeat(longest, headStart time.Duration) time.Duration {
	return max(min(longest, headStart/6).Truncate(time.Second), time.Second)
}

// FromPush converts p to its JSON form.
func FromPush(p session.Push) TokenPrivilege {
	m := TokenPrivilege{
		Type: TypeWillExpire, Seq: p.Seq, Tokens: FromTokens(p.Tokens), PreviousExpiresAt: p.PreviousExpiresAt,
		Action: action(p.Rejoin), Attempt: p.Attempt, Cause: string(p.Cause), Now: p.Now,
	}
	if p.Rejoin {
		m.Type = TypeDidExpire
	}
	if p.Cause == session.CauseResume {
		m.Cause = string(session.CauseRenew) // the protocol has no cause "resume", so such a push has the cause "renew"
	}
	return m
}

// FromEnding converts e to its JSON form.
func FromEnding(e session.Ending) Ended {
	return Ended{Type: TypeEnded, Reason: e.Reason, AccessEndsAt: e.AccessEndsAt}
}

// FromError converts e to its JSON form.
func FromError(e *session.Error) Error {
	return Error{Type: TypeError, Code: e.Code, Message: e.Message}
}

func action(rejoin bool) string {
	if rejoin {
		return ActionRejoin
	}
	return ActionRenew
}
