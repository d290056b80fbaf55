package api

import (
	"cmp"

	"refresher/internal/session"
)

// This file has the endpoints that Agora's older tutorials, samples and documentation expect of a token server.

// rtcTokenRequest is the body of POST /fetch_rtc_token and /fetch_rtc_token_string.
type rtcTokenRequest struct {
	UID         text   `json:"uid"`         // an empty text means uid 0: the token is valid for any user
	ChannelName string `json:"ChannelName"` // some samples send channelName; the decoder ignores case
	Role        text   `json:"role"`
	Expire      int64  `json:"expire"` // seconds; 0 means the default lifetime
}

// fetched is the answer to a POST request of Agora's samples.
type fetched struct {
	Code  string `json:"code"`
	Token string `json:"token"`
}

// fetchRTCToken answers POST /fetch_rtc_token and /fetch_rtc_token_string. Agora's samples use the first endpoint for
// uids and the second for user accounts; here both accept uids and accounts.
func (c *classic) fetchRTCToken(r *request) (any, error) {
	var q rtcTokenRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	ttl, err := c.ttl(r, "expire", q.Expire)
	if err != nil {
		return nil, err
	}
	rtc := session.RTC{Channel: q.ChannelName}
	if rtc.Role, err = role(string(q.Role)); err != nil {
		return nil, err
	}
	if err = optionalUser(&rtc, string(q.UID)); err != nil {
		return nil, err
	}
	tokens, err := c.mintFor(r, session.Identity{RTC: &rtc}, ttl)
	return fetched{"200", tokens.RTC}, err
}

func (c *classic) fetchRTMToken(r *request) (any, error) {
	var q struct {
		UID    text  `json:"uid"`
		Expire int64 `json:"expire"` // seconds; 0 means the default lifetime
	}
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	ttl, err := c.ttl(r, "expire", q.Expire)
	if err != nil {
		return nil, err
	}
	tokens, err := c.mintFor(r, session.Identity{RTM: &session.RTM{UserID: string(q.UID)}}, ttl)
	return fetched{"200", tokens.RTM}, err
}

func (c *classic) accessToken(r *request) (any, error) {
	if r.query.Has("expiredTs") { // in one of Agora's samples, this parameter is the time of the expiry instead of a lifetime
		return nil, session.Errorf(session.CodeBadRequest, "expiredTs: not supported; give the lifetime in seconds as expireTime")
	}
	token, err := c.rtcFromQuery(r, session.Subscriber)
	return anyToken{token}, err
}

// sampleKey is the answer of /rtcToken and /rtmToken.
type sampleKey struct {
	Key string `json:"key"`
}

// rtcKey answers GET /rtcToken?channelName=&uid= with a token for a publisher, as the token server of Agora's sample
// does.
func (c *classic) rtcKey(r *request) (any, error) {
	token, err := c.rtcFromQuery(r, session.Publisher)
	return sampleKey{token}, err
}

func (c *classic) rtmKey(r *request) (any, error) {
	tokens, err := c.mint(r, session.Identity{RTM: &session.RTM{UserID: r.query.Get("account")}})
	return sampleKey{tokens.RTM}, err
}

// rtcFromQuery makes an RTC token from the query's parameters. The argument `otherwise` is the role if the query has
// none.
func (c *classic) rtcFromQuery(r *request, otherwise session.Role) (string, error) {
	name, channel, err := r.parameter("channelName", "channel")
	if err != nil {
		return "", err
	}
	rtc := session.RTC{Channel: channel, Role: otherwise}
	if word := r.query.Get("role"); word != "" {
		if rtc.Role, err = role(word); err != nil {
			return "", err
		}
	}
	if err := optionalUser(&rtc, r.query.Get("uid")); err != nil {
		return "", err
	}
	tokens, err := c.mint(r, session.Identity{RTC: &rtc})
	return tokens.RTC, fieldsOf(cmp.Or(name, "channelName"), "uid").apply(err)
}

// optionalUser does the same as anyUser, except that an empty string means uid 0: the token is valid for any user.
func optionalUser(rtc *session.RTC, s string) error {
	if s == "" {
		return nil
	}
	return anyUser(rtc, s)
}

// plainText is an answer that is sent as text instead of JSON.
type plainText string

func (c *classic) chatAppText(r *request) (any, error) {
	ttl, err := c.expiry(r)
	if err != nil {
		return nil, err
	}
	token, err := c.mintChatApp(r, ttl)
	return plainText(token), err
}

func (c *classic) chatUserText(r *request) (any, error) {
	tokens, err := c.mint(r, session.Identity{Chat: &session.Chat{UserID: r.args[0]}})
	return plainText(tokens.Chat), err
}
