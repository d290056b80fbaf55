package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Records reads a session's record from the store, and writes operators' wishes into
// it. It is safe for concurrent use.
type Records interface {
	store.Getter
	// Wish writes a wish into a session's record and notifies the owner. It returns
	// the record as it stands afterwards. store.ErrNoSession: no such session is open.
	Wish(ctx context.Context, w store.Wish) (store.Record, error)
}

const (
	// wishTimeout bounds each request to the store that an operator waits for.
	wishTimeout = time.Second
	// ownerTimeout is how long an operator waits for the session's owner to act on a
	// wish. The notice, the owner's save and the one after that take about 250 ms.
	ownerTimeout = 900 * time.Millisecond
	// heldTimeout is how long an operator waits for a session that another goroutine
	// holds.
	heldTimeout = 700 * time.Millisecond
	// pollEvery is how often the session's record is read during ownerTimeout.
	pollEvery = 50 * time.Millisecond
)

// Refusals of wishes.
var (
	errNoRTC   = session.Errorf(session.CodeBadRequest, "rtc: the session has no RTC token")
	errNoGrant = session.Errorf(session.CodeForbidden, "rtc.role: the credential that opened the session does not grant publisher")
	// errStoreAway: the session is not here, and the store does not tell where it is, or
	// refuses to write.
	errStoreAway = &session.Error{
		Code: session.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "the store cannot be reached, or refuses, and the session is not on this node; nothing was changed, calls go on, try again",
	}
	// errNoAnswer: the wish may be in the store all the same.
	errNoAnswer = &session.Error{
		Code: session.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "the store stopped answering, and the session is not on this node; whether the change was made is not known, calls go on, try again",
	}
	// errBusy: another goroutine holds the session while it writes to the client, and
	// there is no stored record to answer from.
	errBusy = &session.Error{
		Code: session.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "the session's client is slow to take a message, and the store has no record to go by; the change is made after that, try again",
	}
)

// Wish has an operator's wish carried out for a session of the project app, on
// whatever node it is: the wish is written into the session's record, and the owner,
// which is notified, acts on it. Wish waits for that for up to ownerTimeout. The
// node that has the session carries the wish out even if the store is away. Errors
// are *session.Errors.
func (s *Scheduler) Wish(ctx context.Context, app string, w store.Wish) (result store.WishResult, err error) {
	w.At = s.clock.now().Milli()
	if e := s.openHere(app, w.Session); e != nil {
		result, err = s.wishHere(ctx, e, w)
	} else {
		result, err = s.wishElsewhere(ctx, app, w)
	}
	s.metrics.wished(w.Kind, &result, err)
	if err == nil {
		s.config.Logger.Info("a change by an operator was taken", "session", w.Session, "kind", w.Kind.String(), "version", int64(result.Version),
			"owner", result.Record.Node, "stored", result.Stored, "applied", result.Applied)
	}
	return result, err
}

// openHere returns the entry of an open session of a project, or nil if it is not on this
// node.
func (s *Scheduler) openHere(app, id string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil && e.key.App == app {
		return e
	}
	return nil
}

// mayWish refuses a wish that the session's grant does not cover.
func mayWish(k *session.Key, w *store.Wish) error {
	switch {
	case w.Kind != store.WishRole:
		return nil
	case k.Identity.RTC == nil:
		return errNoRTC
	case w.Role == session.Publisher && !k.Terms.MayPublish:
		return errNoGrant
	}
	return nil
}

// wishElsewhere has a wish carried out for a session that is not on this node.
func (s *Scheduler) wishElsewhere(ctx context.Context, app string, w store.Wish) (store.WishResult, error) {
	find, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	r, ok, err := store.Find(find, s.config.Records, app, w.Session)
	switch {
	case err != nil:
		return store.WishResult{}, errStoreAway
	case !ok:
		return store.WishResult{}, session.ErrNotOpen
	}
	if err := mayWish(&r.Key, &w); err != nil {
		return store.WishResult{}, err
	}
	r, err = s.writeWish(ctx, w)
	switch {
	case errors.Is(err, store.ErrNoSession):
		return store.WishResult{}, session.ErrNotOpen
	case err != nil && errorKind(err) == noAnswer:
		return store.WishResult{}, errNoAnswer
	case err != nil:
		return store.WishResult{}, errStoreAway
	}
	return s.awaitOwner(ctx, r), nil
}

// writeWish writes a wish into the session's record.
func (s *Scheduler) writeWish(ctx context.Context, w store.Wish) (store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	return s.config.Records.Wish(ctx, w)
}

// awaitOwner waits until the owner of a session has acted on the wish that was
// written into its record r.
func (s *Scheduler) awaitOwner(ctx context.Context, r store.Record) store.WishResult {
	result := store.WishResult{Version: r.WishVersion, Record: r, Stored: true}
	result.Applied = s.poll(ctx, r.Session, func(now *store.Record, known bool) bool {
		switch {
		case !known:
			result.Record.State = session.Ended
			return true
		case now.HasEnded():
			result.Record.State, result.Record.Reason = now.State, now.Reason
			result.Record.ExpiresAt = max(result.Record.ExpiresAt, now.ExpiresAt)
			return !r.HasEnded() || now.IsTombstone() || now.Version > r.Version // the owner has written since
		}
		result.Record = *now
		return !now.WishPending
	})
	return result
}

// poll reads a session's record until done returns true, for up to ownerTimeout.
func (s *Scheduler) poll(ctx context.Context, id string, done func(r *store.Record, known bool) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	for pause(ctx, pollEvery) == nil {
		if r, known, err := s.config.Records.Get(ctx, id); err == nil && done(&r, known) {
			return true
		}
	}
	return false
}

// wishHere carries a wish out for a session that is on this node.
func (s *Scheduler) wishHere(ctx context.Context, e *entry, w store.Wish) (store.WishResult, error) {
	if err := mayWish(&e.key, &w); err != nil {
		return store.WishResult{}, err
	}
	var r store.Record
	err := errUnreachable
	if s.outbox.reachable(store.ShardOf(e.id)) {
		r, err = s.writeWish(ctx, w)
	}
	asked := store.WishResult{Version: max(r.WishVersion, w.At), Record: r, Stored: err == nil}
	carried := make(chan store.WishResult, 1)
	s.do(e, func() {
		defer close(carried)
		own := err != nil || s.owns(&r) || e.session.Epoch() > r.Epoch // the store's record is older than what is here
		if own && e.session.State() != session.Ended {
			done := s.carryOut(e, w, asked)
			s.commit(e)
			carried <- done
		}
	})
	result := asked // the other goroutine may still read that
	select {
	case done, ok := <-carried:
		switch {
		case ok:
			result = done
		case err == nil: // another node has it by now
			return s.awaitOwner(ctx, r), nil
		default:
			return result, session.ErrNotOpen
		}
	case <-time.After(heldTimeout): // another goroutine holds it, for example to write to a slow client; the change is made after that
		if err != nil {
			return result, errBusy
		}
	}
	if errors.Is(err, store.ErrNoSession) { // joined a moment ago: its first record is about to be written
		result.Stored = s.poll(ctx, e.id, func(now *store.Record, known bool) bool {
			return known && (now.HasEnded() || now.WishVersion >= result.Version)
		})
	}
	return result, nil
}

// errUnreachable is used in place of a request to a store that was away a moment ago.
var errUnreachable = errors.New("the store is away")

// carryOut applies an operator's wish to a session and returns the result. e.mu is held;
// the caller commits.
func (s *Scheduler) carryOut(e *entry, w store.Wish, result store.WishResult) store.WishResult {
	now, role := roleOf(e.session.Identity), roleOf(result.Record.Identity)
	if !result.Stored || result.Version < e.wish || result.Version == e.wish && role != now {
		result.Version = max(e.wish+1, w.At) // by the store, this one comes before what was done here
		if role = now; w.Kind == store.WishRole {
			role = w.Role
		}
	}
	if w.Kind == store.WishEnd {
		e.wish = max(e.wish, result.Version)
		s.end(e, session.EndRevoked)
	} else {
		s.obey(e, result.Version, role)
	}
	result.Applied = true
	result.Record = store.Record{
		Record: e.session.Record(e.reason, s.clock.now()), Node: s.config.Node, WishVersion: e.wish,
	}
	return result
}

// obey applies an operator's wish of this version to a session, unless the session has
// applied it or a later one: the session takes the role, and its client gets new tokens,
// at once or when it is back. e.mu is held; the caller commits.
func (s *Scheduler) obey(e *entry, version session.UnixMilli, role session.Role) {
	if version <= e.wish || e.session.State() == session.Ended {
		return
	}
	cause := s.adoptRole(e, version, role)
	switch now := s.clock.now(); {
	case e.client != nil:
		s.want(e, cause, now)
	case e.session.AskedOverHTTP(now) == session.Repeat: // it would be given the same tokens again
		e.session.Want(cause, now)
	}
}

// adoptRole sets a session's role to that of an operator's wish of this version, and
// returns the cause of the renewal that the wish asks for. e.mu is held.
func (s *Scheduler) adoptRole(e *entry, version session.UnixMilli, role session.Role) session.Cause {
	e.wish = version
	if e.session.SetRole(role) {
		return session.CauseRole
	}
	return session.CauseRenew
}

// roleOf returns the role of an identity's RTC token, or zero if it has none.
func roleOf(id session.Identity) session.Role {
	if id.RTC == nil {
		return session.Subscriber
	}
	return id.RTC.Role
}

// overtaken applies an operator's wish that the store has and l.record does not.
func (s *Scheduler) overtaken(l letter, later store.Register) {
	e := l.entry
	s.do(e, func() {
		if later.Version > e.wish {
			s.log(e, slog.LevelInfo, "a change by an operator came by the store", "version", int64(later.Version))
			s.obey(e, later.Version, later.Role)
			s.commit(e)
		}
	})
}

// finishEnd ends a session that an operator ended in the store, as the store's answer to
// l.record says. If the session has ended here for another reason meanwhile, its record
// is written again with the operator's reason, which decides how long the tombstone is
// kept.
func (s *Scheduler) finishEnd(l letter, reason session.EndReason) {
	e := l.entry
	s.do(e, func() {
		switch {
		case e.lost || e.session.Epoch() != l.record.Epoch:
			return
		case e.session.State() != session.Ended:
			s.end(e, reason)
		default:
			e.reason, e.written = reason, written{}
		}
		s.commit(e)
	})
}
