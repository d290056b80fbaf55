package api

import (
	"context"
	"strconv"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/store"
)

// operators serves the endpoints under /v1 that need the scope "admin".
type operators struct{ config *Config }

// Default and largest number of sessions on a page of a listing.
const (
	defaultPage = 50
	maxPage     = 200
)

// sessionView is a session in answers to operators.
type sessionView struct {
	ID      string `json:"id"`
	App     string `json:"app"`
	Subject string `json:"subject,omitempty"`
	State   string `json:"state"` // "attached" or "detached"
	Node    string `json:"node"`
	protocol.Identity
	TTL int64 `json:"ttl"` // seconds
	// TokenFormat is omitted for 007.
	TokenFormat session.Format  `json:"tokenFormat,omitempty"`
	Until       session.UnixSec `json:"until"`
	// Seq, IssuedAt and ExpiresAt describe the newest tokens. Confirmed says whether the client has acknowledged them.
	// These fields are omitted while the newest tokens are unknown: from the restore of a session from its resume key
	// until new tokens are minted.
	Seq           uint64          `json:"seq,omitempty"`
	IssuedAt      session.UnixSec `json:"issuedAt,omitempty"`
	ExpiresAt     session.UnixSec `json:"expiresAt,omitempty"`
	Confirmed     *bool           `json:"confirmed,omitempty"`
	LastAckAt     session.UnixSec `json:"lastAckAt,omitempty"`
	NextRenewalAt session.UnixSec `json:"nextRenewalAt,omitempty"` // omitted unless attached
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

// sessionPage is the answer to GET /v1/sessions. Even an empty page may have a next page, since
// one request searches only a limited number of sessions.
type sessionPage struct {
	Sessions []sessionView `json:"sessions"`
	Cursor   string        `json:"cursor,omitempty"` // of the next page; empty on the last page
}

// Cursors encrypts the cursors of listings, which may contain session ids of other projects. It
// is safe for concurrent use.
type Cursors interface {
	SealCursor(app, cursor string) (string, error)
	OpenCursor(app, sealed string) (cursor string, ok bool)
}

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
		if query.Has(name) && query.Get(name) == "" { // without this check, an empty value, perhaps from an unset shell variable, would match every session
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

// openCursor decrypts a cursor. An empty cursor means the beginning of the listing.
func (o *operators) openCursor(app, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	cursor, ok := o.config.Cursors.OpenCursor(app, sealed)
	if !ok {
		return "", session.Errorf(session.CodeBadRequest, "cursor: want the cursor of an earlier page")
	}
	return cursor, nil
}

// sealCursor encrypts the cursor of the next page. An empty cursor means the end of the listing.
func (o *operators) sealCursor(app, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	return o.config.Cursors.SealCursor(app, cursor)
}

func (o *operators) showSession(r *request) (any, error) {
	record, err := o.find(r.Context(), r.caller.App, r.args[0])
	if err != nil {
		return nil, err
	}
	return viewOf(&record), nil
}

// find returns an open session of a project.
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

// storeAway converts an error of the store to the error for the caller: err itself if callers may see its text,
// otherwise an error that says when to retry.
func storeAway(err error) error {
	if _, ok := asRefusal(err); ok {
		return err
	}
	return &session.Error{Code: session.CodeUnavailable, Message: "Redis cannot be reached; calls go on, try again", RetryAfter: 5 * time.Second}
}
