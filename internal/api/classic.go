package api

import (
	"strconv"
	"time"

	"refresher/internal/session"
)

// CauseClassic is the value of the label "cause" in the metrics of minted tokens, for the endpoints of the classic
// token servers.
const CauseClassic session.Cause = "classic"

// classic serves the endpoints of the classic token servers and of Agora's samples.
type classic struct{ config *Config }

func (c *classic) rtc(r *request) (any, error) {
	rtc, err := rtcFromPath(r.args)
	if err != nil {
		return nil, err
	}
	tokens, err := c.mint(r, session.Identity{RTC: &rtc})
	return struct {
		RTCToken string `json:"rtcToken"`
	}{tokens.RTC}, err
}

func (c *classic) rtm(r *request) (any, error) {
	tokens, err := c.mint(r, session.Identity{RTM: &session.RTM{UserID: r.args[0]}})
	return struct {
		RTMToken string `json:"rtmToken"`
	}{tokens.RTM}, err
}

// rte answers /rte/{channel}/{role}/{tokentype}/{uid}[/{rtmuid}] with an RTC and an RTM token.
// The RTM user is rtmuid, or uid if there is no rtmuid.
func (c *classic) rte(r *request) (any, error) {
	rtc, err := rtcFromPath(r.args[:4])
	if err != nil {
		return nil, err
	}
	tokens, err := c.rteTokens(r, rtc, session.RTM{UserID: r.args[len(r.args)-1]})
	return struct {
		RTCToken string `json:"rtcToken"`
		RTMToken string `json:"rtmToken"`
	}{tokens.RTC, tokens.RTM}, err
}

// rteTokens makes the tokens of /rte. As in the classic token servers, the RTM token also permits RTM's stream channels
// in the RTC channel. In format 006 it does not, since a 006 token is for one service only.
func (c *classic) rteTokens(r *request, rtc session.RTC, rtm session.RTM) (session.Tokens, error) {
	ttl, err := c.expiry(r)
	if err != nil {
		return session.Tokens{}, err
	}
	both := session.Identity{RTC: &rtc, RTM: &rtm}
	format, err := c.format(r, both)
	if err != nil {
		return session.Tokens{}, err
	}
	if format != session.Format007 {
		return c.mintFor(r, both, ttl)
	}
	stream := r.streamUser(rtc.Channel, rtm)
	now, at, err := c.grant(r, both, ttl)
	if err == nil && (stream.User() != rtc.User() || stream.Role != rtc.Role) {
		now, at, err = c.grantStream(r, &stream, rtm, ttl)
	}
	if err != nil {
		return session.Tokens{}, err
	}
	rtmToken, err := c.config.Minter.MintStream(r.caller.App, stream, rtm, CauseClassic, now, at)
	if err != nil {
		return session.Tokens{}, err
	}
	tokens, err := c.config.Minter.Mint(r.caller.App, session.Identity{RTC: &rtc}, format, CauseClassic, now, at)
	tokens.RTM = rtmToken
	return tokens, err
}

// chatToken is the JSON answer of the chat endpoints.
type chatToken struct {
	ChatToken string `json:"chatToken"`
}

// chatApp answers /chat/app with the app token of Agora Chat, with which back ends call Chat's API.
func (c *classic) chatApp(r *request) (any, error) {
	ttl, err := c.expiry(r)
	if err != nil {
		return nil, err
	}
	token, err := c.mintChatApp(r, ttl)
	return chatToken{token}, err
}

func (c *classic) chatAccount(r *request) (any, error) {
	tokens, err := c.mint(r, session.Identity{Chat: &session.Chat{UserID: r.args[0]}})
	return chatToken{tokens.Chat}, err
}

// tokenRequest is the body of POST /getToken.
type tokenRequest struct {
	TokenType string `json:"tokenType"`
	Channel   string `json:"channel"`
	Role      text   `json:"role"`
	UID       text   `json:"uid"`
	Expire    int64  `json:"expire"` // seconds; 0 means the default lifetime
}

func (c *classic) getToken(r *request) (any, error) {
	var q tokenRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	ttl, err := c.ttl(r, "expire", q.Expire)
	if err != nil {
		return nil, err
	}
	var id session.Identity
	switch q.TokenType {
	case "rtc":
		rtc := session.RTC{Channel: q.Channel}
		if rtc.Role, err = role(string(q.Role)); err != nil {
			return nil, err
		}
		if err = anyUser(&rtc, string(q.UID)); err != nil {
			return nil, err
		}
		id.RTC = &rtc
	case "rtm":
		rtm := session.RTM{UserID: string(q.UID)}
		if q.Channel != "" {
			token, err := c.mintStream(r, q.Channel, rtm, ttl)
			return anyToken{token}, err
		}
		id.RTM = &rtm
	case "chat":
		if q.UID == "" {
			token, err := c.mintChatApp(r, ttl)
			return anyToken{token}, err
		}
		id.Chat = &session.Chat{UserID: string(q.UID)}
	default:
		return nil, session.Errorf(session.CodeBadRequest, `tokenType: want "rtc", "rtm" or "chat"`)
	}
	tokens, err := c.mintFor(r, id, ttl)
	return anyToken{tokens.RTC + tokens.RTM + tokens.Chat}, err // the request is for one service, so two of these three texts are empty
}

// anyToken is the answer of /getToken.
type anyToken struct {
	Token string `json:"token"`
}

// mint makes tokens with the lifetime in the request's query.
func (c *classic) mint(r *request, id session.Identity) (session.Tokens, error) {
	ttl, err := c.expiry(r)
	if err != nil {
		return session.Tokens{}, err
	}
	return c.mintFor(r, id, ttl)
}

// expiry returns the lifetime in the request's parameter "expiry". In Agora's older tutorials this parameter is called
// "expireTime".
func (c *classic) expiry(r *request) (time.Duration, error) {
	name, value, err := r.parameter("expiry", "expireTime")
	switch {
	case err != nil:
		return 0, err
	case name == "":
		return c.ttl(r, "expiry", 0)
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds == 0 {
		return 0, session.Errorf(session.CodeBadRequest, "%s: want a whole number of seconds, 1 or more", name)
	}
	return c.ttl(r, name, seconds)
}

// parameter returns the value of a parameter that has several names, and the name that the request used. The name is
// empty if the request has none of these parameters.
func (r *request) parameter(names ...string) (name, value string, err error) {
	for _, n := range names {
		if !r.query.Has(n) {
			continue
		}
		if name != "" {
			return "", "", session.Errorf(session.CodeBadRequest, "%s: given along with %s; want one of them", n, name)
		}
		name, value = n, r.query.Get(n)
	}
	return name, value, nil
}

// mintFor makes tokens for id, if the caller is authorized.
func (c *classic) mintFor(r *request, id session.Identity, ttl time.Duration) (session.Tokens, error) {
	format, err := c.format(r, id)
	if err != nil {
		return session.Tokens{}, err
	}
	now, at, err := c.grant(r, id, ttl)
	if err != nil {
		return session.Tokens{}, err
	}
	return c.config.Minter.Mint(r.caller.App, id, format, CauseClassic, now, at)
}

// mintStream makes an RTM token that also permits the stream channels of an RTC channel.
func (c *classic) mintStream(r *request, channel string, rtm session.RTM, ttl time.Duration) (string, error) {
	stream := r.streamUser(channel, rtm)
	switch format, err := c.format(r, session.Identity{RTC: &stream, RTM: &rtm}); {
	case err != nil:
		return "", err
	case format == session.Format006:
		return "", session.Errorf(session.CodeBadRequest, "channel: a token of version 006 opens RTM alone; leave the channel out, or ask for tokenFormat=007")
	}
	now, at, err := c.grantStream(r, &stream, rtm, ttl)
	if err != nil {
		return "", err
	}
	return c.config.Minter.MintStream(r.caller.App, stream, rtm, CauseClassic, now, at)
}

// streamUser returns the RTC user that an RTM user needs for stream channels. Both users have the same
// name. The RTC user is a publisher, and so may send messages, if the caller's grant allows that role.
func (r *request) streamUser(channel string, rtm session.RTM) session.RTC {
	rtc := session.RTC{Channel: channel, Account: rtm.UserID}
	if r.caller.Grant.Allows(session.Publisher) {
		rtc.Role = session.Publisher
	}
	return rtc
}

// grantStream does the same as grant, for an RTM token with stream channels. If the back end denies the role publisher,
// grantStream changes the role in `stream` to subscriber and requests approval again: an RTM user that may not send
// messages may still read them.
func (c *classic) grantStream(r *request, stream *session.RTC, rtm session.RTM, ttl time.Duration) (now, at session.UnixSec, err error) {
	grant := &r.caller.Grant
	if err := grant.Covers(session.Identity{RTM: &rtm}); err != nil {
		return 0, 0, err
	}
	id := session.Identity{RTC: stream, RTM: &rtm}
	d := c.authorize(r, id)
	switch {
	case d.Reason == session.NotGranted:
		return 0, 0, session.Errorf(d.Refusal.Code, "the RTM token opens stream channels as RTC user %q: %s", rtm.UserID, d.Refusal.Message)
	case d.Reason == session.Denied && stream.Role == session.Publisher && grant.Allows(session.Subscriber):
		stream.Role = session.Subscriber
		d = c.authorize(r, id)
	}
	return lifetime(d, ttl)
}

// format returns the token format of the request's parameter tokenFormat, or the default.
func (c *classic) format(r *request, id session.Identity) (session.Format, error) {
	var wanted *session.Format
	if r.query.Has("tokenFormat") {
		wanted = new(session.Format)
		if err := wanted.UnmarshalText([]byte(r.query.Get("tokenFormat"))); err != nil {
			return 0, err
		}
	}
	return c.config.Policy.Format(wanted, &r.caller.Grant, id)
}

// grant authorizes the caller for id. It returns the issue time, `now`, and the expiry, `at`, of tokens with the
// lifetime ttl.
func (c *classic) grant(r *request, id session.Identity, ttl time.Duration) (now, at session.UnixSec, err error) {
	return lifetime(c.authorize(r, id), ttl)
}

// authorize decides whether the caller may have tokens for id, without a session. It stores the end of the permission
// in r.caller, so that no other token of the same request is valid for longer.
func (c *classic) authorize(r *request, id session.Identity) session.Decision {
	who := &r.caller
	d := c.config.Access.Authorize(r.Context(), session.Request{
		Action: session.ActionJoin, Caller: who, Claims: &session.ResumeClaims{App: who.App, Subject: who.Subject, Identity: id},
	})
	if d.Allowed {
		who.Grant.Until = d.Until
	}
	return d
}

// mintChatApp makes Chat's app token, which belongs to no user.
func (c *classic) mintChatApp(r *request, ttl time.Duration) (string, error) {
	if _, err := c.format(r, session.Identity{}); err != nil {
		return "", err
	}
	now, at, err := c.grant(r, session.Identity{}, ttl)
	if err != nil {
		return "", err
	}
	return c.config.Minter.MintChatApp(r.caller.App, CauseClassic, now, at)
}

// lifetime returns the issue time, `now`, and the expiry, `at`, of tokens with the lifetime ttl. If the permission d
// ends before that, the tokens expire with d. If the tokens would expire within the current second, lifetime returns
// ErrDenied.
func lifetime(d session.Decision, ttl time.Duration) (now, at session.UnixSec, err error) {
	if err := d.Err(); err != nil {
		return 0, 0, err
	}
	now = session.SecOf(time.Now())
	at = now.Add(ttl)
	if d.Until != 0 {
		at = min(at, d.Until)
	}
	if at <= now {
		return 0, 0, session.ErrDenied
	}
	return now, at, nil
}

// ttl returns the lifetime for a field's value in seconds; 0 means the default lifetime.
func (c *classic) ttl(r *request, field string, seconds int64) (time.Duration, error) {
	policy := &c.config.Policy
	if most := int64(policy.MaxTTL / time.Second); seconds < 0 || seconds > most {
		return 0, session.Errorf(session.CodeBadRequest, "%s: want 1 to %d seconds", field, most)
	}
	return r.caller.Grant.GrantedTTL(time.Duration(seconds)*time.Second, policy, session.SecOf(time.Now()))
}
