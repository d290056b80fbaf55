package api

import (
	"cmp"
	"errors"
	"time"

	"refresher/internal/session"
)

// leaveRequest is the body of a leave. The resume key may be in the Authorization header instead.
type leaveRequest struct {
	Key       string          `json:"key"`
	Seq       uint64          `json:"seq"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// leaveBodyTimeout is how long the body of a leave may take. It is shorter than bodyTimeout, because a client without
// a valid key can make the node wait for this body.
const leaveBodyTimeout = 5 * time.Second

// leave answers POST /v1/sessions/{id}/leave. It accepts the resume key in the body, and a body of any
// Content-Type, so that a closing page of another origin can send the leave without a CORS preflight: an Authorization
// header or the type application/json would cause a preflight.
func (a *API) leave(r *request) (any, error) {
	if r.body != nil {
		r.body.timeout = leaveBodyTimeout
	}
	var q leaveRequest
	if err := decode(r.Request, &q); err != nil && !errors.Is(err, errNoBody) {
		return nil, err
	}
	key := cmp.Or(bearer(r.Request), q.Key)
	if key == "" {
		return nil, session.Errorf(session.CodeUnauthenticated, `want the key of the last joined message, as "key" in the body or as Authorization: Bearer`)
	}
	err := a.config.Clients.LeaveByKey(r.Context(), session.Resume{Session: r.args[0], Key: key, Seq: q.Seq, ExpiresAt: q.ExpiresAt})
	var ended *session.EndedError
	if errors.As(err, &ended) && ended.Reason != session.EndSuperseded { // if a newer key has replaced this one, the session stays open, and the client gets the error
		err = nil
	}
	return noContent{}, err
}
