package api

import (
	"strconv"

	"refresher/internal/session"
)

// inspectRequest is the body of POST /v1/tokens/inspect: a token, and what it is
// to be used for.
type inspectRequest struct {
	Token   string  `json:"token"`
	Channel string  `json:"channel"`
	UID     *uint32 `json:"uid"`
	Account string  `json:"account"`
}

// inspect answers POST /v1/tokens/inspect.
func (a *API) inspect(r *request) (any, error) {
	var q inspectRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	user := q.Account
	if q.UID != nil {
		if q.Account != "" {
			return nil, session.Errorf(session.CodeBadRequest, "has both uid and account; give one")
		}
		user = strconv.FormatUint(uint64(*q.UID), 10)
	}
	return a.config.Inspect(r.caller.App, q.Token, q.Channel, user), nil
}
