package api

import (
	"context"
	"fmt"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Wishes changes or ends a session on the node that owns the session. A store.Wish is a change that an operator
// requests. Wishes is safe for concurrent use. Its errors are *session.Errors.
type Wishes interface {
	Wish(ctx context.Context, app string, w store.Wish) (store.WishResult, error)
}

// changeRequest is the body of PATCH /v1/sessions/{id}.
type changeRequest struct {
	RTC *struct {
		Role *session.Role `json:"role"`
	} `json:"rtc"`
	Renew bool `json:"renew"`
}

// wishView is the common part of the answers to PATCH and DELETE. It says whether the requested change was applied and
// stored.
type wishView struct {
	ID      string `json:"id"`
	Applied bool   `json:"applied"` // whether the session's node has carried out the change
	Stored  bool   `json:"stored"`  // whether the store has the change, so that it is not lost if this node stops
	Node    string `json:"node"`
	Note    string `json:"note,omitempty"`
}

// changeView is the answer to PATCH /v1/sessions/{id}.
type changeView struct {
	wishView

	// Version orders the changes of one session: the change with the highest version wins.
	Version session.UnixMilli `json:"version"`
	Role    *session.Role     `json:"role,omitempty"` // the role after the change; nil if the session has no RTC token
	// Pushed means that new tokens are being sent to a connected client.
	Pushed bool `json:"pushed"`
}

// endView is the answer to DELETE /v1/sessions/{id}.
type endView struct {
	wishView

	// AccessEndsAt is when the session's last token expires. It is omitted if unknown.
	AccessEndsAt session.UnixSec `json:"accessEndsAt,omitempty"`
}

// changeSession answers PATCH /v1/sessions/{id}. {"rtc": {"role": …}} changes the role and pushes
// new tokens; {"renew": true} pushes new tokens with the current role.
func (o *operators) changeSession(r *request) (any, error) {
	var q changeRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	w := store.Wish{Session: r.args[0], Kind: store.WishRenew}
	switch {
	case q.RTC != nil && q.RTC.Role != nil && !q.Renew:
		w.Kind, w.Role = store.WishRole, *q.RTC.Role
	case q.Renew && q.RTC == nil:
	default:
		return nil, session.Errorf(session.CodeBadRequest, `want {"rtc": {"role": "publisher" or "subscriber"}} or {"renew": true}`)
	}
	result, err := o.wish(r, w)
	if err != nil {
		return nil, err
	}
	view := changeView{
		wishView: viewOfWish(&w, &result), Version: result.Version,
		Pushed: result.Applied && result.Record.State == session.Attached,
	}
	if rtc := result.Record.Identity.RTC; rtc != nil {
		view.Role = &rtc.Role
	}
	return view, nil
}

// endSession answers DELETE /v1/sessions/{id}: it ends the session on whichever node owns it, and makes the session's
// resume keys invalid.
func (o *operators) endSession(r *request) (any, error) {
	w := store.Wish{Session: r.args[0], Kind: store.WishEnd}
	result, err := o.wish(r, w)
	if err != nil {
		return nil, err
	}
	return endView{viewOfWish(&w, &result), result.Record.ExpiresAt}, nil
}

func (o *operators) wish(r *request, w store.Wish) (store.WishResult, error) {
	if len(w.Session) > store.MaxName {
		return store.WishResult{}, session.ErrNotOpen
	}
	return o.config.Wishes.Wish(r.Context(), r.caller.App, w)
}

func viewOfWish(w *store.Wish, result *store.WishResult) wishView {
	return wishView{
		ID: w.Session, Applied: result.Applied, Stored: result.Stored, Node: result.Record.Node, Note: noteOf(w, result),
	}
}

// noteOf explains to the operator why a change has not taken effect yet. It returns "" if the change has taken effect.
func noteOf(w *store.Wish, result *store.WishResult) string {
	r := &result.Record
	overtaken := w.Kind == store.WishRole && result.Version < r.WishVersion && r.Identity.RTC != nil && r.Identity.RTC.Role != w.Role
	switch {
	case overtaken:
		return fmt.Sprintf("a later change, of version %d, has overtaken this one", r.WishVersion)
	case !result.Stored:
		return "Redis cannot be reached, or refused the write: this node has made the change, and writes it to Redis as soon as it can; if the node stops before, the change is lost"
	case !result.Applied && w.Kind == store.WishEnd:
		return "the session's keys are dead; node " + r.Node + " has not confirmed yet that it told the client"
	case !result.Applied:
		return "node " + r.Node + " has not confirmed yet; it acts on this as soon as it runs, or the node that takes the session over does"
	case w.Kind == store.WishEnd:
		return ""
	case r.HasEnded():
		return "the session has ended meanwhile"
	case r.State != session.Attached:
		return "the client is not connected; it gets new tokens when it reconnects"
	}
	return ""
}
