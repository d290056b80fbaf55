package api

import (
	"errors"
	"net/http"
	"strings"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// renewRequest is the optional body of a renewal: what the client has, as in a
// resume message.
type renewRequest struct {
	Seq       *uint64 `json:"seq"`
	ExpiresAt int64   `json:"expiresAt"` // Unix seconds
}

// renew answers POST /v1/sessions/{id}/renew with Authorization: Bearer {key}.
func (a *API) renew(r *http.Request, args []string) (any, error) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return nil, session.Errorf(session.CodeUnauthenticated, "want Authorization: Bearer and the key of the last joined message")
	}
	var q renewRequest
	if err := decode(r, &q); err != nil && !errors.Is(err, errNoBody) {
		return nil, err
	}
	resume := session.Resume{Session: args[0], Key: key, ExpiresAt: q.ExpiresAt, SeqUnknown: q.Seq == nil}
	if q.Seq != nil {
		resume.Seq = *q.Seq
	}
	push, err := a.config.Renewer.RenewByKey(resume)
	if err != nil {
		return nil, err
	}
	return protocol.FromPush(push), nil
}
