package api

import (
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// endSession answers DELETE /v1/sessions/{id}: the session ends, wherever it is,
// and its keys are dead.
func (a *API) endSession(r *request) (any, error) {
	o := store.Order{App: r.caller.App, Session: r.args[0]}
	lasts := a.config.Policy.MaxSession
	if len(o.Session) > store.MaxName {
		return nil, errNoSession
	}
	// While the store is away, whether there is one cannot be told: it is
	// ended on trust.
	record, err := a.find(r.Context(), o.App, o.Session)
	switch {
	case errors.Is(err, errNoSession):
		return nil, err
	case err == nil:
		lasts = lifeOf(&record)
	}
	o, tally, err := a.config.Orders.Give(r.Context(), newOrder(o, store.OrderRevoke, lasts))
	if tally.Done == 0 && record.ExpiresAt != 0 { // nobody has it in memory: it is refused when it comes
		tally.AccessEndsAt = max(tally.AccessEndsAt, record.ExpiresAt)
	}
	return outcome(a.revocationOf(&o, &tally), err)
}

// lifeOf is how long an order about one session is to stand: for as long as its
// keys may open it, or its tokens work.
func lifeOf(r *store.Record) time.Duration {
	return max(time.Minute, time.Until(max(r.Terms.Until, r.ExpiresAt).Time()))
}

// changeRequest is the body of PATCH /v1/sessions/{id}.
type changeRequest struct {
	RTC *struct {
		Role *session.Role `json:"role"`
	} `json:"rtc"`
	Renew bool `json:"renew"`
}

// changeView says what came of a change.
type changeView struct {
	ID string `json:"id"`
	// Pushed: a client is connected, and new tokens are on their way to it.
	Pushed bool     `json:"pushed"`
	Note   string   `json:"note,omitempty"`
	Silent []string `json:"silent,omitempty"`
}

// changeSession answers PATCH /v1/sessions/{id}: {"rtc": {"role": …}} pushes new
// tokens with another role, {"renew": true} with the same.
func (a *API) changeSession(r *request) (any, error) {
	var q changeRequest
	if err := decode(r.Request, &q); err != nil {
		return nil, err
	}
	record, err := a.find(r.Context(), r.caller.App, r.args[0])
	if err != nil {
		return nil, err
	}
	o := store.Order{App: r.caller.App, Session: record.Session}
	lasts := lifeOf(&record)
	switch {
	case q.RTC != nil && q.RTC.Role != nil && !q.Renew:
		switch role := *q.RTC.Role; {
		case record.Identity.RTC == nil:
			return nil, session.Errorf(session.CodeBadRequest, "rtc: the session has no RTC token")
		case role == session.Publisher && !record.Terms.MayPublish:
			return nil, session.Errorf(session.CodeForbidden, "rtc.role: the credential that opened the session does not grant publisher")
		default:
			o.Role = role
		}
		o = newOrder(o, store.OrderRole, lasts)
	case q.Renew && q.RTC == nil:
		o = newOrder(o, store.OrderRenew, time.Minute)
	default:
		return nil, session.Errorf(session.CodeBadRequest, `want {"rtc": {"role": "publisher" or "subscriber"}} or {"renew": true}`)
	}
	_, tally, err := a.config.Orders.Give(r.Context(), o)
	view := changeView{ID: record.Session, Pushed: tally.Done > 0, Silent: tally.Silent}
	for _, report := range tally.Nodes {
		if report.Note != "" {
			view.Note = report.Note
		}
	}
	return outcome(view, err)
}
