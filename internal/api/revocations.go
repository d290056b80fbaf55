package api

import (
	"context"
	"errors"
	"strconv"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Revocations manages the revocations of all nodes. It is safe for concurrent use. Errors are
// *session.Errors, or wrap store.ErrNoRevocation or store.ErrUnsaved.
type Revocations interface {
	// Add adds a revocation and waits up to a second until all nodes have ended the matching sessions. The
	// returned revocation also has its id and the time at which it was added.
	Add(ctx context.Context, r store.Revocation) (store.Revocation, store.Progress, error)
	// Get returns a revocation of a project, if the revocation is in effect.
	Get(ctx context.Context, app, id string) (store.Revocation, store.Progress, error)
	// Lift removes a revocation of a project.
	Lift(ctx context.Context, app, id string) (store.Revocation, error)
	// List returns a page of a project's revocations in the order of their ids, starting behind the cursor `after`.
	// The result `next` is the cursor of the following page; it is empty after the last page.
	List(app, after string) (page []store.Revocation, next string, err error)
}

// maxRevocation is the longest duration of a revocation.
const maxRevocation = 365 * 24 * time.Hour

// selection is the part of a request that selects sessions.
type selection struct {
	Channel string  `json:"channel"`
	UID     *uint32 `json:"uid"`
	Account string  `json:"account"`
	Subject string  `json:"subject"`
}

// selector converts s to a store.Selector. Its error is a *session.Error.
func (s *selection) selector(app string) (store.Selector, error) {
	selector := store.Selector{App: app, Channel: s.Channel, User: s.Account, Subject: s.Subject}
	if s.UID != nil {
		if s.Account != "" {
			return selector, session.Errorf(session.CodeBadRequest, "uid, account: both given; want one of them")
		}
		selector.User = strconv.FormatUint(uint64(*s.UID), 10)
	}
	for _, name := range []struct{ field, value string }{{"channel", s.Channel}, {"account", s.Account}, {"subject", s.Subject}} {
		if len(name.value) > store.MaxName {
			return selector, session.Errorf(session.CodeBadRequest, "%s: want at most %d bytes", name.field, store.MaxName)
		}
	}
	return selector, nil
}

// revocationRequest is the body of POST /v1/revocations.
type revocationRequest struct {
	selection

	For *int64 `json:"for"` // seconds
}

// revocation converts the request q to a store.Revocation. If q has no duration, the parameter `lasts` is the duration.
// The error is a *session.Error.
func (q *revocationRequest) revocation(app string, lasts time.Duration) (r store.Revocation, err error) {
	if r.Selector, err = q.selector(app); err != nil {
		return r, err
	}
	if r.Everybody() {
		return r, session.Errorf(session.CodeBadRequest, "nothing selected; give channel, uid, account or subject")
	}
	if q.For != nil {
		if most := int64(maxRevocation / time.Second); *q.For < 1 || *q.For > most {
			return r, session.Errorf(session.CodeBadRequest, "for: want 1 to %d seconds", most)
		}
		lasts = time.Duration(*q.For) * time.Second
	}
	r.Until = session.SecOf(time.Now().Add(lasts)) + 1
	return r, nil
}

// revocationView is a revocation in a list.
type revocationView struct {
	ID      string          `json:"id"`
	Channel string          `json:"channel,omitempty"`
	User    string          `json:"user,omitempty"` // the uid or the account
	Subject string          `json:"subject,omitempty"`
	At      session.UnixSec `json:"at"`
	Until   session.UnixSec `json:"until"`
	// ClassicEndsAt is an upper bound for the expiry of the tokens that endpoints of the classic token servers issued
	// before the revocation. The actual expiry is unknown, since these tokens have no session.
	ClassicEndsAt session.UnixSec `json:"classicEndsAt"`
}

// progressView is a revocation and its progress on the nodes.
type progressView struct {
	revocationView

	Ended int `json:"ended"` // sessions
	// AccessEndsAt is when the last token of the ended sessions expires, since Agora cannot revoke
	// tokens. It is omitted if no session was ended.
	AccessEndsAt session.UnixSec `json:"accessEndsAt,omitempty"`
	Complete     bool            `json:"complete"`             // whether all live nodes have ended the matching sessions
	WaitingFor   []string        `json:"waitingFor,omitempty"` // the live nodes that still have matching sessions
}

func (o *operators) viewOfRevocation(r *store.Revocation) revocationView {
	return revocationView{
		ID: r.ID, Channel: r.Channel, User: r.User, Subject: r.Subject, At: r.Since.Sec(), Until: r.Until,
		ClassicEndsAt: r.Since.Sec().Add(o.config.Policy.MaxTTL),
	}
}

func (o *operators) viewOfProgress(r *store.Revocation, p *store.Progress) progressView {
	return progressView{o.viewOfRevocation(r), p.Ended, p.AccessEndsAt, p.Complete, p.WaitingFor}
}

// unsavedError is the answer if a revocation was added or removed on this node, but not in the store, which could not
// be reached. Done shows the revocation.
type unsavedError struct {
	problem
	Done any `json:"done"`
}

func (*unsavedError) Error() string { return store.ErrUnsaved.Error() }

var errNoRevocation = session.Errorf(session.CodeUnknownSession, "no such revocation is in force; it may have ended, or been lifted")

// revocationError converts an error of Revocations to the error for the operator. The argument `done` is shown in the
// field "done" of the answer.
func revocationError(done any, err error) error {
	switch {
	case errors.Is(err, store.ErrNoRevocation):
		return errNoRevocation
	case errors.Is(err, store.ErrUnsaved):
		return &unsavedError{problem{
			"Redis cannot be reached: the change has effect on this node only, which writes it to Redis when Redis is back. " +
				"If that node stops before, it is lost: do it again then",
			session.CodeUnavailable, 503,
		}, done}
	}
	return err
}

func (o *operators) revoke(r *request) (any, error) {
	var q revocationRequest
	// The body is decoded strictly: if a misspelt or empty field were ignored, the revocation would match more sessions
	// than intended.
	if err := decodeAll(r.Request, &q, "channel", "uid", "account", "subject", "for"); err != nil {
		return nil, err
	}
	wanted, err := q.revocation(r.caller.App, o.config.Policy.MaxSession)
	if err != nil {
		return nil, err
	}
	added, progress, err := o.config.Revocations.Add(r.Context(), wanted)
	view := o.viewOfProgress(&added, &progress)
	return view, revocationError(view, err)
}

func (o *operators) showRevocation(r *request) (any, error) {
	found, progress, err := o.config.Revocations.Get(r.Context(), r.caller.App, r.args[0])
	return o.viewOfProgress(&found, &progress), revocationError(nil, err)
}

func (o *operators) liftRevocation(r *request) (any, error) {
	lifted, err := o.config.Revocations.Lift(r.Context(), r.caller.App, r.args[0])
	view := o.viewOfRevocation(&lifted)
	return view, revocationError(view, err)
}

func (o *operators) listRevocations(r *request) (any, error) {
	page := struct {
		Revocations []revocationView `json:"revocations"`
		Cursor      string           `json:"cursor,omitempty"`
	}{Revocations: []revocationView{}}
	standing, next, err := o.config.Revocations.List(r.caller.App, r.query.Get("cursor"))
	for i := range standing {
		page.Revocations = append(page.Revocations, o.viewOfRevocation(&standing[i]))
	}
	page.Cursor = next
	return page, err
}
