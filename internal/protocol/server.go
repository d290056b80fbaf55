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

// What a client does with the tokens that it is given.
const (
	ActionRenew  = "renew"  // hand them to the SDK's renewToken
	ActionRejoin = "rejoin" // join the call again with them
)

// Reasons of a Reconnect.
const (
	ReasonDrain    = "drain"
	ReasonOverload = "overload"
)

// Token is one service's token.
type Token struct {
	Token     string          `json:"token"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// Tokens is a bundle: a token for each service that the session asked for.
type Tokens struct {
	RTC  *Token `json:"rtc,omitempty"`
	RTM  *Token `json:"rtm,omitempty"`
	Chat *Token `json:"chat,omitempty"`
}

// Joined answers a join or a resume.
type Joined struct {
	Type        string            `json:"type"`
	Session     string            `json:"session"`
	Key         string            `json:"key"`
	Resumed     bool              `json:"resumed"`
	Action      string            `json:"action,omitempty"` // on resume
	Seq         uint64            `json:"seq"`
	Tokens      Tokens            `json:"tokens"`
	Heartbeat   int64             `json:"heartbeat"`   // seconds
	RenewBefore int64             `json:"renewBefore"` // seconds
	Now         session.UnixMilli `json:"now"`
}

// TokenPrivilege brings new tokens: token-privilege-will-expire, or
// token-privilege-did-expire when it comes after the old ones ran out.
type TokenPrivilege struct {
	Type              string            `json:"type"`
	Seq               uint64            `json:"seq"`
	Tokens            Tokens            `json:"tokens"`
	PreviousExpiresAt session.UnixSec   `json:"previousExpiresAt"` // 0 = not known
	Action            string            `json:"action"`
	Attempt           int               `json:"attempt"`
	Cause             string            `json:"cause"`
	Now               session.UnixMilli `json:"now"`
}

// Reconnect asks the client to connect again after a span.
type Reconnect struct {
	Type    string `json:"type"`
	AfterMs int64  `json:"afterMs"`
	Reason  string `json:"reason"`
}

// Ended says that the session is over.
type Ended struct {
	Type         string            `json:"type"`
	Reason       session.EndReason `json:"reason"`
	AccessEndsAt session.UnixSec   `json:"accessEndsAt"` // 0 = not known
}

// Pong answers a ping.
type Pong struct {
	Type string            `json:"type"`
	Now  session.UnixMilli `json:"now"`
}

// Error is a refusal.
type Error struct {
	Type    string       `json:"type"`
	Code    session.Code `json:"code"`
	Message string       `json:"message"`
}

// FromTokens is the wire form of t.
func FromTokens(t session.Tokens) Tokens {
	token := func(s string) *Token {
		if s == "" {
			return nil
		}
		return &Token{Token: s, ExpiresAt: t.ExpiresAt}
	}
	return Tokens{RTC: token(t.RTC), RTM: token(t.RTM), Chat: token(t.Chat)}
}

// FromJoined is the wire form of j. heartbeat is --heartbeat, the longest that any client
// waits between two pings; Heartbeat has the rule for this one.
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

// Heartbeat returns how often a client sends a ping: a sixth of the head start of its
// renewals, but at most longest, in whole seconds and at least one. A client waits for the
// answer to a ping for two heartbeats at most (client.Patience), so it finds a dead
// connection within half of a head start of 6 s or more, and has the other half to connect
// again before its tokens expire.
func Heartbeat(longest, headStart time.Duration) time.Duration {
	return max(min(longest, headStart/6).Truncate(time.Second), time.Second)
}

// FromPush is the wire form of p.
func FromPush(p session.Push) TokenPrivilege {
	m := TokenPrivilege{
		Type: TypeWillExpire, Seq: p.Seq, Tokens: FromTokens(p.Tokens), PreviousExpiresAt: p.PreviousExpiresAt,
		Action: action(p.Rejoin), Attempt: p.Attempt, Cause: string(p.Cause), Now: p.Now,
	}
	if p.Rejoin {
		m.Type = TypeDidExpire
	}
	if p.Cause == session.CauseResume {
		m.Cause = string(session.CauseRenew) // a resume asks for tokens, too
	}
	return m
}

// FromEnding is the wire form of e.
func FromEnding(e session.Ending) Ended {
	return Ended{Type: TypeEnded, Reason: e.Reason, AccessEndsAt: e.AccessEndsAt}
}

// FromError is the wire form of e.
func FromError(e *session.Error) Error {
	return Error{Type: TypeError, Code: e.Code, Message: e.Message}
}

func action(rejoin bool) string {
	if rejoin {
		return ActionRejoin
	}
	return ActionRenew
}
