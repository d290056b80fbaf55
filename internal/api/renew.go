package api

import (
	"errors"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// renewRequest is the optional body of a renewal: what the client has, as in a
// resume message.
type renewRequest struct {
	Seq       *uint64         `json:"seq"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// renew answers POST /v1/sessions/{id}/renew with Authorization: Bearer {key}.
func (a *API) renew(r *request) (any, error) {
	key := bearer(r.Request)
	if key == "" {
		return nil, session.Errorf(session.CodeUnauthenticated, "want Authorization: Bearer and the key of the last joined message")
	}
	// An invalid key is refused before the body is read, so that clients without a
	// session cannot hold handlers. For a session that has ended the body is read:
	// the answer says for how long the client's tokens work, which is in there.
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
