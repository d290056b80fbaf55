package api

import (
	"cmp"
	"errors"
	"time"

	"refresher/internal/session"
)

// leaveRequest is the body of a leave. The key may be in the Authorization header instead.
type leaveRequest struct {
	Key       string          `json:"key"`
	Seq       uint64          `json:"seq"`
	ExpiresAt session.UnixSec `json:"expiresAt"`
}

// leaveBodyTimeout is how long the body of a leave may take. The key in it is not checked
// before it is read, so a client without one must not hold a handler for bodyTimeout.
const leaveBodyTimeout = 5 * time.Second

// leave answers POST /v1/sessions/{id}/leave. The key may be in the body, and the body of any
// type, so that a page that is about to close can send it to another origin: a header, or a
// Content-Type of application/json, would have the browser ask first, by a CORS preflight.
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
	if errors.As(err, &ended) && ended.Reason != session.EndSuperseded { // with a newer key, it goes on
		err = nil
	}
	return noContent{}, err
}
