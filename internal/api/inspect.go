package api

import (
	"strconv"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// inspectRequest is the body of POST /v1/tokens/inspect: a token, and the channel and user with which it should work.
type inspectRequest struct {
	Token   string  `json:"token"`
	Service string  `json:"service"`
	Channel string  `json:"channel"`
	UID     *uint32 `json:"uid"`
	Account string  `json:"account"`
}

func (o *operators) inspect(r *request) (any, error) {
	var q inspectRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	use := agora.Use{AppID: r.caller.App, Holder: agora.Holder{Channel: q.Channel, User: q.Account}}
	if q.UID != nil {
		if q.Account != "" {
			return nil, session.Errorf(session.CodeBadRequest, "uid, account: both given; want one of them")
		}
		use.User = strconv.FormatUint(uint64(*q.UID), 10)
	}
	if q.Service != "" {
		var err error
		if use.Service, err = agora.ParseService(q.Service); err != nil {
			return nil, err
		}
	}
	return o.config.Inspect(q.Token, use), nil
}
