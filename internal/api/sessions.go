package api

import (
	"context"
	"strconv"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/store"
)

// operators answers the endpoints under /v1 that want the scope "admin".
type operators struct{ config *Config }

// Bounds of a page of sessions.
const (
	defaultPage = 50
	maxPage     = 200
)

// sessionView is a session as operators see it.
type sessionView struct {
	ID      string `json:"id"`
	App     string `json:"app"`
	Subject string `json:"subject,omitempty"`
	State   string `json:"state"` // attached or detached
	Node    string `json:"node"`
	protocol.Identity
	TTL int64 `json:"ttl"` // seconds
	// TokenFormat is left out for 007.
	TokenFormat session.Format  `json:"tokenFormat,omitempty"`
	Until       session.UnixSec `json:"until"`
	// Seq, IssuedAt and ExpiresAt are of the newest tokens, and Confirmed says whether the
	// client has confirmed those. They are left out while these tokens are not known: of a
	// session that was restored from its resume key, until new ones are minted.
	Seq           uint64          `json:"seq,omitempty"`
	IssuedAt      session.UnixSec `json:"issuedAt,omitempty"`
	ExpiresAt     session.UnixSec `json:"expiresAt,omitempty"`
	Confirmed     *bool           `json:"confirmed,omitempty"`
	LastAckAt     session.UnixSec `json:"lastAckAt,omitempty"`
	NextRenewalAt session.UnixSec `json:"nextRenewalAt,omitempty"` // while attached
	DetachedAt    session.UnixSec `json:"detachedAt,omitempty"`
}

func viewOf(r *store.Record) sessionView {
	v := sessionView{
		ID: r.Session, App: r.App, Subject: r.Subject, State: "detached", Node: r.Node, Identity: protocol.IdentityOf(r.Identity),
		TTL: int64(r.Terms.TTL / time.Second), TokenFormat: r.Terms.Format, Until: r.Terms.Until, Seq: r.Seq,
		IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt, LastAckAt: r.AckedAt, DetachedAt: r.DetachedAt.Sec(),
	}
	if r.Seq > 0 {
		v.Confirmed = new(r.HeldSeq >= r.Seq)
	}
	if r.State == session.Attached {
		v.State, v.NextRenewalAt = "attached", r.Due.Sec()
	}
	return v
}

// sessionPage is the answer of GET /v1/sessions. A page may be empty and not the
// last: one request looks at a bounded number of sessions.
type sessionPage struct {
	Sessions []sessionView `json:"sessions"`
	Cursor   string        `json:"cursor,omitempty"` // for the next page; none at the end
}

// Cursors makes the cursors of listings opaque: between two sessions of one project may
// stand those of others. It is safe for concurrent use.
type Cursors interface {
	SealCursor(app, cursor string) (string, error)
	OpenCursor(app, sealed string) (cursor string, ok bool)
}

// listSessions answers GET /v1/sessions?channel=&uid=&account=&subject=&limit=&cursor=.
func (o *operators) listSessions(r *request) (any, error) {
	query := r.query
	limit := defaultPage
	if query.Has("limit") {
		var err error
		if limit, err = strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > maxPage {
			return nil, session.Errorf(session.CodeBadRequest, "limit: want 1 to %d", maxPage)
		}
	}
	for _, name := range []string{"channel", "account", "subject"} {
		if query.Has(name) && query.Get(name) == "" { // a shell variable that is not set, say: every session would match
			return nil, isEmpty(name)
		}
	}
	filter := selection{
		Channel: query.Get("channel"), Account: query.Get("account"), Subject: query.Get("subject"),
	}
	if query.Has("uid") {
		n, err := uid(query.Get("uid"))
		if err != nil {
			return nil, err
		}
		filter.UID = &n
	}
	fits, err := filter.selector(r.caller.App)
	if err != nil {
		return nil, err
	}
	at, err := o.openCursor(r.caller.App, query.Get("cursor"))
	if err != nil {
		return nil, err
	}
	records, next, err := store.List(r.Context(), o.config.Sessions, store.ListQuery{
		After: at, Limit: limit, Fits: func(r *store.Record) bool { return fits.Matches(&r.ResumeClaims) },
	})
	if err != nil {
		return nil, storeAway(err)
	}
	page := sessionPage{Sessions: make([]sessionView, len(records))}
	for i := range records {
		page.Sessions[i] = viewOf(&records[i])
	}
	page.Cursor, err = o.sealCursor(r.caller.App, next)
	return page, err
}

// openCursor reads a cursor of a listing; empty is its begin.
func (o *operators) openCursor(app, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	cursor, ok := o.config.Cursors.OpenCursor(app, sealed)
	if !ok {
		return "", session.Errorf(session.CodeBadRequest, "cursor: want one that a listing ended with")
	}
	return cursor, nil
}

// sealCursor makes the cursor for the next page; empty is the end.
func (o *operators) sealCursor(app, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	return o.config.Cursors.SealCursor(app, cursor)
}

// showSession answers GET /v1/sessions/{id}.
func (o *operators) showSession(r *request) (any, error) {
	record, err := o.find(r.Context(), r.caller.App, r.args[0])
	if err != nil {
		return nil, err
	}
	return viewOf(&record), nil
}

// find is a session of a project. One that is not there is looked for again: it
// may have been joined a moment ago.
func (o *operators) find(ctx context.Context, app, id string) (store.Record, error) {
	record, ok, err := store.Find(ctx, o.config.Sessions, app, id)
	switch {
	case err != nil:
		return store.Record{}, storeAway(err)
	case !ok:
		return store.Record{}, session.ErrNotOpen
	}
	return record, nil
}

// storeAway returns err if callers may see it, else an error that tells them to try again
// later.
func storeAway(err error) error {
	if _, ok := asRefusal(err); ok {
		return err
	}
	return &session.Error{Code: session.CodeUnavailable, Message: "the store cannot be reached; calls go on, try again", RetryAfter: 5 * time.Second}
}
