package api

import (
	"errors"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// renewRequest is the optional body of a renewal. It says which tokens the client has, as in a resume.
type renewRequest struct {
	Seq       *uint64         `json:"seq"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

func (a *API) renew(r *request) (any, error) {
	key := bearer(r.Request)
	if key == "" {
		return nil, session.Errorf(session.CodeUnauthenticated, "want Authorization: Bearer and the key of the last joined message")
	}
	// An invalid key is refused before the body is read, so that clients without a session cannot
	// make the node wait for a body. If the session has ended, the body is read, since the answer
	// repeats the expiry of the client's tokens from the body.
	var ended *session.EndedError
	if err := a.config.Clients.Open(&session.Resume{Session: r.args[0], Key: key}); err != nil && !errors.As(err, &ended) {
		return nil, err
	}
	var q renewRequest
	if err := decode(r.Request, &q); err != nil && !errors.Is(err, errNoBody) {
		return nil, err
	}
	resume := session.Resume{Session: r.args[0], Key: key, ExpiresAt: q.ExpiresAt, SeqUnknown: q.Seq == nil}
	if q.Seq != nil {
		resume.Seq = *q.Seq
	}
	push, err := a.config.Clients.RenewByKey(r.Context(), resume)
	if err != nil {
		return nil, err
	}
	return protocol.FromPush(push), nil
}
