package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Orders are what operators have done to sessions on every node. It is safe for
// concurrent use. Errors are *session.Errors, or wrap store.ErrNotDurable.
type Orders interface {
	// Give gives an order, and waits a little for what all nodes have done.
	// What o leaves empty is filled in: its id, and when it was given.
	Give(ctx context.Context, o store.Order) (given store.Order, t store.Tally, err error)
	// Lift takes one back. That there is none such any more is no error.
	Lift(ctx context.Context, app, id string) error
	// Find is an order that stands, with what was done about it. It is false
	// when there is none such.
	Find(ctx context.Context, app, id string) (o store.Order, t store.Tally, stands bool, err error)
	// Standing are some of the orders of a kind that stand, by id: those after
	// a cursor, and the cursor to go on from, empty at the end.
	Standing(app string, kind store.OrderKind, after string, limit int) (orders []store.Order, next string, err error)
}

// selection says which sessions an operator means.
type selection struct {
	Channel string  `json:"channel"`
	UID     *uint32 `json:"uid"`
	Account string  `json:"account"`
	Subject string  `json:"subject"`
}

// order is what the selection fits.
func (s *selection) order(app string) (store.Order, error) {
	o := store.Order{App: app, Channel: s.Channel, User: s.Account, Subject: s.Subject}
	if s.UID != nil {
		if s.Account != "" {
			return o, session.Errorf(session.CodeBadRequest, "has both uid and account; give one")
		}
		o.User = strconv.FormatUint(uint64(*s.UID), 10)
	}
	for _, name := range []struct{ field, value string }{{"channel", s.Channel}, {"account", s.Account}, {"subject", s.Subject}} {
		if len(name.value) > store.MaxName {
			return o, session.Errorf(session.CodeBadRequest, "%s: want at most %d bytes", name.field, store.MaxName)
		}
	}
	return o, nil
}

// revocationRequest is the body of POST /v1/revocations.
type revocationRequest struct {
	selection
	For *int64 `json:"for"` // seconds
}

// revocationView is a revocation and what came of it.
type revocationView struct {
	ID      string          `json:"id"`
	Session string          `json:"session,omitempty"`
	Channel string          `json:"channel,omitempty"`
	User    string          `json:"user,omitempty"` // a uid or an account
	Subject string          `json:"subject,omitempty"`
	At      session.UnixSec `json:"at"`
	Until   session.UnixSec `json:"until"`

	Ended int `json:"ended"`
	// AccessEndsAt is when the last of their tokens stops to work: Agora
	// cannot revoke one. 0: there is none.
	AccessEndsAt session.UnixSec `json:"accessEndsAt"`
	// ClassicEndsAt is when the last token stops to work that the classic
	// endpoints can have handed out before: nobody keeps count of those.
	ClassicEndsAt session.UnixSec `json:"classicEndsAt"`
	Silent        []string        `json:"silent,omitempty"` // nodes that have not answered yet
}

func (a *API) revocationOf(o *store.Order, t *store.Tally) revocationView {
	return revocationView{
		ID: o.ID, Session: o.Session, Channel: o.Channel, User: o.User, Subject: o.Subject,
		At: o.At.Sec(), Until: o.Until, Ended: t.Done, AccessEndsAt: t.AccessEndsAt, Silent: t.Silent,
		ClassicEndsAt: o.At.Sec().Add(a.config.Policy.MaxTTL),
	}
}

// partialError is the answer when an order counts here, but could not be made
// durable.
type partialError struct {
	problem
	Done any `json:"done"`
}

func (*partialError) Error() string { return store.ErrNotDurable.Error() }

// notDurable says what was done, and what was not.
func notDurable(done any) error {
	return &partialError{problem{
		"the store cannot be reached: this was done on the node that answers, and is kept there for the others until the store is back. " +
			"If that node stops before, it is lost: do it again then",
		session.CodeUnavailable, 503,
	}, done}
}

// outcome answers for an order: done, or done in part.
func outcome(done any, err error) (any, error) {
	if errors.Is(err, store.ErrNotDurable) {
		return nil, notDurable(done)
	}
	return done, err
}

// newOrder is an order to be given now.
func newOrder(o store.Order, kind store.OrderKind, lasts time.Duration) store.Order {
	o.Kind, o.Until = kind, session.SecOf(time.Now().Add(lasts))+1
	return o
}

// revoke answers POST /v1/revocations.
func (a *API) revoke(r *request) (any, error) {
	var q revocationRequest
	// A name that is misspelt, or left empty, would widen what is revoked.
	if err := decodeAll(r.Request, &q, "channel", "uid", "account", "subject", "for"); err != nil {
		return nil, err
	}
	o, err := q.order(r.caller.App)
	if err != nil {
		return nil, err
	}
	if o.Channel == "" && o.User == "" && o.Subject == "" {
		return nil, session.Errorf(session.CodeBadRequest, "names nobody; give channel, uid, account or subject")
	}
	lasts := a.config.Policy.MaxSession
	if q.For != nil {
		if most := int64(maxRevocation / time.Second); *q.For < 1 || *q.For > most {
			return nil, session.Errorf(session.CodeBadRequest, "for: want 1 to %d seconds", most)
		}
		lasts = time.Duration(*q.For) * time.Second
	}
	o, tally, err := a.config.Orders.Give(r.Context(), newOrder(o, store.OrderRevoke, lasts))
	return outcome(a.revocationOf(&o, &tally), err)
}

// maxRevocation is the longest that a revocation may stand.
const maxRevocation = 365 * 24 * time.Hour

// listRevocations answers GET /v1/revocations?cursor=.
func (a *API) listRevocations(r *request) (any, error) {
	query := r.query
	page := struct {
		Revocations []revocationView `json:"revocations"`
		Cursor      string           `json:"cursor,omitempty"`
	}{Revocations: []revocationView{}}
	standing, next, err := a.config.Orders.Standing(r.caller.App, store.OrderRevoke, query.Get("cursor"), maxPage)
	if err != nil {
		return nil, err
	}
	for i := range standing {
		page.Revocations = append(page.Revocations, a.revocationOf(&standing[i], &store.Tally{}))
	}
	page.Cursor = next
	return page, nil
}

var errNoOrder = session.Errorf(session.CodeUnknownSession, "no such order stands; it may be over")

// standing is an order of one kind.
func (a *API) standing(r *request, kind store.OrderKind) (store.Order, store.Tally, error) {
	o, tally, ok, err := a.config.Orders.Find(r.Context(), r.caller.App, r.args[0])
	if err != nil {
		return o, tally, err
	}
	if !ok || o.Kind != kind {
		return o, tally, errNoOrder
	}
	return o, tally, nil
}

// showRevocation answers GET /v1/revocations/{id}.
func (a *API) showRevocation(r *request) (any, error) {
	o, tally, err := a.standing(r, store.OrderRevoke)
	return a.revocationOf(&o, &tally), err
}

// liftRevocation answers DELETE /v1/revocations/{id}.
func (a *API) liftRevocation(r *request) (any, error) {
	o, tally, err := a.standing(r, store.OrderRevoke)
	if err != nil {
		return nil, err
	}
	err = a.config.Orders.Lift(r.Context(), o.App, o.ID)
	return outcome(a.revocationOf(&o, &tally), err)
}
