package api

import (
	"strconv"

	"refresher/internal/session"
)

// inspectRequest is the body of POST /v1/tokens/inspect: a token, and what it is
// to be used for.
type inspectRequest struct {
	Token   string  `json:"token"`
	Service string  `json:"service"`
	Channel string  `json:"channel"`
	UID     *uint32 `json:"uid"`
	Account string  `json:"account"`
}

// Use is what a token will be used for. Empty fields are not checked.
type Use struct {
	Service string // rtc, rtm or chat
	Channel string
	User    string // a uid in decimal, a user account, or an RTM or Chat user id
}

// inspect answers POST /v1/tokens/inspect.
func (a *API) inspect(r *request) (any, error) {
	var q inspectRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	use := Use{Service: q.Service, Channel: q.Channel, User: q.Account}
	if q.UID != nil {
		if q.Account != "" {
			return nil, session.Errorf(session.CodeBadRequest, "has both uid and account; give one")
		}
		use.User = strconv.FormatUint(uint64(*q.UID), 10)
	}
	return a.config.Inspect(r.caller.App, q.Token, use)
}
