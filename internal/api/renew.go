package api

import (
	"errors"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// renewRequest is the optional body of a renewal: the client's newest tokens, as in a resume.
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
	// Refuse an invalid key before reading the body, so that clients without a session cannot
	// keep handlers waiting. For an ended session the body is still read, since the answer
	// repeats from it how long the client's tokens remain valid.
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
