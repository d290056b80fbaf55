package api

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// renewRequest is the optional body of a renewal: what the client has, as in a
// resume message.
type renewRequest struct {
	Seq       uint64 `json:"seq"`
	ExpiresAt int64  `json:"expiresAt"` // Unix seconds
}

// renew answers POST /v1/sessions/{id}/renew with Authorization: Bearer {key}.
func (a *API) renew(r *http.Request, args []string) (any, error) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || key == "" {
		return nil, session.Errorf(session.CodeUnauthenticated, "want Authorization: Bearer and the key of the last joined message")
	}
	var q renewRequest
	body, err := io.ReadAll(r.Body)
	if err == nil && len(bytes.TrimSpace(body)) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
		err = decode(r, &q)
	}
	if err != nil {
		return nil, err
	}
	push, err := a.config.Renewer.RenewByKey(session.Resume{Session: args[0], Key: key, Seq: q.Seq, ExpiresAt: q.ExpiresAt})
	if err != nil {
		return nil, err
	}
	return protocol.FromPush(push), nil
}
