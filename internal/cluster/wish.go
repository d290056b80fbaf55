package cluster

import (
	"context"
	"errors"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// wishTimeout bounds each request to the store for which an operator waits.
	wishTimeout = time.Second
	// ownerTimeout is how long an operator waits for the session's owner to apply a change of the
	// session (a wish). Usually the owner needs about 250 ms: for the notice that the store sends
	// to it, and for two saves.
	ownerTimeout = 900 * time.Millisecond
	// heldTimeout is how long an operator waits for a session's lock on this node if another
	// goroutine holds the lock.
	heldTimeout = 700 * time.Millisecond
	// pollEvery is the interval at which the session's record is read during ownerTimeout.
	pollEvery = 50 * time.Millisecond
)

// Errors for an operator whose change of a session (a wish) was not applied.
var (
	errNoRTC   = session.Errorf(session.CodeBadRequest, "rtc: the session has no RTC token")
	errNoGrant = session.Errorf(session.CodeForbidden, "rtc.role: the credential that opened the session does not grant publisher")
	// errStoreAway means that the session is not on this node, and that the store could not be
	// reached or refused to write the wish into the session's record.
	errStoreAway = unavailable("Redis cannot be reached, or refuses operations, and another node owns the session; nothing was changed, calls go on, try again")
	// errNoAnswer means that the store did not answer when the wish was written into the session's
	// record, so the store may have the wish or not.
	errNoAnswer = unavailable("Redis stopped answering, and another node owns the session; the change may or may not have been made, calls go on, try again")
	// errBusy means that the operator's change was not applied in time and is not known to be in
	// the store: another goroutine held the session's lock while it wrote to a slow client.
	errBusy = unavailable("the session's client is slow to read a message, and Redis has no record of the session; the change is made after that, try again")
)

func unavailable(message string) *session.Error {
	return &session.Error{Code: session.CodeUnavailable, RetryAfter: 5 * time.Second, Message: message}
}

// Wish applies an operator's change (a wish) to a session of the project app, on any node. It
// writes the wish into the session's record, and so notifies the session's owner. Then it waits up
// to ownerTimeout until the owner has applied the wish. If the session is on this node, the wish
// is applied even if the store is down. Errors are *session.Errors.
func (c *Cluster) Wish(ctx context.Context, app string, w store.Wish) (result store.WishResult, err error) {
	select {
	case <-c.running:
	case <-ctx.Done():
		return store.WishResult{}, errStoreAway
	}
	w.At = session.MilliOf(time.Now())
	if key, here := c.node.Find(app, w.Session); here {
		result, err = c.wishHere(ctx, &key, w)
	} else {
		result, err = c.wishElsewhere(ctx, app, w)
	}
	c.countWish(w.Kind, &result, err)
	if err == nil {
		c.config.Logger.Info("operator's change accepted", "session", w.Session, "kind", w.Kind.String(), "version", int64(result.Version),
			"owner", result.Record.Node, "stored", result.Stored, "applied", result.Applied)
	}
	return result, err
}

// mayWish returns an error if an operator's change of a session (a wish) is not possible: the
// session has no RTC token, or the credential that opened it does not permit the new role.
func mayWish(k *session.ResumeClaims, w *store.Wish) error {
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

func (c *Cluster) wishElsewhere(ctx context.Context, app string, w store.Wish) (store.WishResult, error) {
	find, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	r, ok, err := store.Find(find, c.config.Records, app, w.Session)
	switch {
	case err != nil:
		return store.WishResult{}, errStoreAway
	case !ok:
		return store.WishResult{}, session.ErrNotOpen
	}
	if err := mayWish(&r.ResumeClaims, &w); err != nil {
		return store.WishResult{}, err
	}
	r, err = c.writeWish(ctx, w)
	switch {
	case errors.Is(err, store.ErrNoSession):
		return store.WishResult{}, session.ErrNotOpen
	case err != nil && errorKind(err) == noAnswer:
		return store.WishResult{}, errNoAnswer
	case err != nil:
		return store.WishResult{}, errStoreAway
	}
	return c.awaitOwner(ctx, r), nil
}

func (c *Cluster) writeWish(ctx context.Context, w store.Wish) (store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	return c.config.Records.Wish(ctx, w)
}

// awaitOwner waits until the session's owner has applied the operator's change (the wish) that
// is pending in the record r.
func (c *Cluster) awaitOwner(ctx context.Context, r store.Record) store.WishResult {
	result := store.WishResult{Version: r.WishVersion, Record: r, Stored: true}
	result.Applied = c.poll(ctx, r.Session, func(now *store.Record, known bool) bool {
		switch {
		case !known:
			result.Record.State = session.Ended
			return true
		case now.HasEnded():
			result.Record.State, result.Record.Reason = now.State, now.Reason
			result.Record.ExpiresAt = max(result.Record.ExpiresAt, now.ExpiresAt)
			// a higher version means that the owner has saved the record after the wish was
			// written into it
			return !r.HasEnded() || now.IsTombstone() || now.Version > r.Version
		}
		result.Record = *now
		return !now.WishPending
	})
	return result
}

// poll reads a session's record repeatedly until the function `done` returns true, for up to
// ownerTimeout.
func (c *Cluster) poll(ctx context.Context, id string, done func(r *store.Record, known bool) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	for pause(ctx, pollEvery) == nil {
		if r, known, err := c.config.Records.Get(ctx, id); err == nil && done(&r, known) {
			return true
		}
	}
	return false
}

func (c *Cluster) wishHere(ctx context.Context, k *session.ResumeClaims, w store.Wish) (store.WishResult, error) {
	if err := mayWish(k, &w); err != nil {
		return store.WishResult{}, err
	}
	var r store.Record
	var err error = errStoreAway
	if c.pending.shardUp(w.Session) {
		r, err = c.writeWish(ctx, w)
	}
	result := store.WishResult{Version: max(r.WishVersion, w.At), Record: r, Stored: err == nil}
	select {
	case done, carried := <-c.node.ApplyWish(w, result):
		switch {
		case carried:
			result = done
		case err == nil: // another node has acquired the session since this node found it
			return c.awaitOwner(ctx, r), nil
		default:
			return result, session.ErrNotOpen
		}
	case <-time.After(heldTimeout):
		// Another goroutine holds the session's lock, for example to write to a slow client.
		// That goroutine applies the wish when it unlocks the session.
		if err != nil {
			return result, errBusy
		}
	}
	if errors.Is(err, store.ErrNoSession) { // the session was joined just now, and its first record is not saved yet
		result.Stored = c.poll(ctx, w.Session, func(now *store.Record, known bool) bool {
			return known && (now.HasEnded() || now.WishVersion >= result.Version)
		})
	}
	return result, nil
}
