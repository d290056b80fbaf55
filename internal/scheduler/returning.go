package scheduler

import (
	"context"

	"refresher/internal/session"
	"refresher/internal/store"
)

// returning handles one request of a client that returns with a resume key.
type returning struct {
	engine *Scheduler
	resume session.Resume
	// attach is true if the request opens a connection, and so raises the session's epoch.
	attach   bool
	key      session.ResumeClaims
	decision session.Decision
	acquired store.Acquired
	// made is true if the session was not on this node, and was restored from acquired or from key.
	made bool
	now  session.Instant
}

// reopen finds the session on this node, or restores it from the store's record or from the key.
// Then it applies the seq and the expiry that the client sent. On success the returned entry is
// locked, and the caller must call its method commit or pass it to abandon.
func (b *returning) reopen(ctx context.Context) (*entry, error) {
	s := b.engine
	connected, err := b.open()
	if err != nil {
		return nil, err
	}
	action := session.ActionRenew
	if b.attach {
		action = session.ActionResume
	}
	asked := s.inRole(ctx, b.key)
	b.decision = s.decide(ctx, session.Request{Action: action, Claims: &asked})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.decision.Reason == session.RevocationsUnknown {
		return nil, b.decision.Err()
	}
	if b.attach || !connected {
		if b.acquired, err = s.cluster.Acquire(ctx, &b.key, b.attach); err != nil {
			return nil, err
		}
	}
	b.now = s.clock.now()
	e, err := b.find()
	if err != nil {
		return nil, err
	}
	if err := b.readmit(e); err != nil {
		e.Unlock()
		return nil, err
	}
	return e, nil
}

// open decrypts the client's key, unless the caller has done so with Scheduler.Open. Then it checks
// the key by peek, and returns the result of peek.
func (b *returning) open() (connected bool, err error) {
	if b.resume.Claims == nil {
		if err := b.engine.Open(&b.resume); err != nil {
			return false, err
		}
	}
	b.key = *b.resume.Claims
	return b.engine.peek(&b.key)
}

// inRole returns the claims with the session's current role, taken from this node or the store. An
// operator may have changed the role since the key was issued.
func (s *Scheduler) inRole(ctx context.Context, k session.ResumeClaims) session.ResumeClaims {
	if s.config.Policy.ApprovalAhead == 0 || k.Identity.RTC == nil {
		return k
	}
	rtc := *k.Identity.RTC
	if e := s.table.get(k.Session); e != nil {
		e.Lock()
		rtc.Role = roleOf(e.session.Identity)
		e.Unlock()
	} else if r, ok := s.cluster.Get(ctx, &k); ok {
		rtc.Role = roleOf(r.Identity)
	}
	k.Identity.RTC = &rtc
	return k
}

// find returns the session's entry, locked. If the session is not on this node, find restores it.
// The error is an EndedError.
func (b *returning) find() (*entry, error) {
	s := b.engine
	for {
		e, over := s.table.find(b.key.Session)
		if e == nil && over != nil {
			if err := b.refuseEnded(over); err != nil {
				return nil, err
			}
		}
		if e == nil {
			e = b.makeEntry()
			e.Lock() // does not block: e is not in the table yet, so no other goroutine can hold its lock
			if s.table.insert(e, over, false) {
				e.opened()
				b.made = true
				return e, nil
			}
			continue // another goroutine has inserted an entry first, which the next pass of the loop finds
		}
		e.Lock()
		// If the session ended before e.Lock returned, the next pass of the loop looks the session
		// up again.
		if e.session.State() == session.Ended {
			e.Unlock()
			continue
		}
		if b.key.Fits(&e.claims) {
			return e, nil
		}
		b.dropMismatched(e)
	}
}

// dropMismatched discards and unlocks a session that this node adopted from a record that does not
// match the client's key.
func (b *returning) dropMismatched(e *entry) {
	defer e.Unlock()
	defer e.contain(nil)
	b.engine.config.Logger.Error("a session's record contradicts its resume key; the node uses the key", "session", e.claims.Session)
	e.discard()
	e.commit()
}

// refuseEnded returns an EndedError if the session has ended on purpose, and saves the end under
// the epoch that Acquire has just assigned. It returns nil if the session has expired, since its
// key can open it again.
func (b *returning) refuseEnded(e *entry) (err error) {
	e.Lock()
	defer e.Unlock()
	defer e.contain(&err)
	if !e.hasEndedOnPurpose() {
		return nil
	}
	e.session.Fence(b.acquired.Epoch)
	e.commit()
	return &session.EndedError{Ending: e.session.Ending(e.reason)}
}

// makeEntry returns a new entry for the session, from the store's record, or from the key if
// the store has no record.
func (b *returning) makeEntry() *entry {
	if !b.acquired.Known {
		return b.engine.newEntry(session.New(b.key, &b.engine.config.Policy, b.now))
	}
	r := b.acquired.Record
	if r.State == session.Ended { // the session had expired, but its client has returned, so it is open again
		r.State, r.Reason = session.Detached, ""
		r.DetachedAt = b.now.Milli()
		r.Delivered &^= store.DeliveredEnd
	}
	return b.engine.restore(&r, b.now)
}

// readmit checks that the returning client may continue its session, and updates the session. If it
// returns an error, it has ended or abandoned the session.
func (b *returning) readmit(e *entry) (err error) {
	defer e.contain(&err)
	held := &b.acquired
	b.update(e)
	// A revocation may have come after Open admitted the client, and before the session was in the
	// table, where Revoke finds it.
	if e.isRevoked() {
		ending := e.session.Ending(session.EndRevoked)
		e.session.Fence(held.Epoch) // raises the epoch, so that the store does not refuse the record of the end as outdated
		e.end(session.EndRevoked)
		e.commit()
		return &session.EndedError{Ending: ending}
	}
	if err := b.admitOrAbandon(e); err != nil {
		return err
	}
	if r := &held.Record; held.Known && r.WishVersion > e.wish {
		cause := e.adoptRole(r.WishVersion, roleOf(r.Identity))
		// In this case the newest tokens are unconfirmed and older than the operator's change.
		// Without Want, the client would get them again when it renews over HTTP.
		if e.session.RenewRequestedOverHTTP(b.now) == session.Repeat {
			e.session.Want(cause, b.now)
		}
	}
	if err := b.applyDecision(e); err != nil {
		return err
	}
	fence := held.Epoch
	if b.attach && fence > 0 {
		fence-- // one less, since Session.Attach will raise the epoch by one
	}
	e.session.Fence(fence)
	return nil
}

// update replaces the session's state by the store's record, if another node has owned the session
// since this node did.
func (b *returning) update(e *entry) {
	held := &b.acquired
	if !b.made && held.Known && !held.Record.OwnedBy(b.engine.config.Node) && held.Record.Epoch >= e.session.Epoch() {
		b.replace(e)
	}
}

// replace replaces the session's state by the store's record. It keeps the role of this node if an
// operator has changed it here after the newest change in the record.
func (b *returning) replace(e *entry) {
	e.supersede(b.now)
	newer := b.makeEntry()
	role := roleOf(e.session.Identity)
	e.session, e.delivered, e.sent = newer.session, newer.delivered, 0
	if newer.wish < e.wish { // an operator changed the role on this node while the store was down
		e.session.SetRole(role)
	}
	e.wish = max(e.wish, newer.wish)
}

// admitOrAbandon calls admit. If admit refuses the key, it abandons the session.
func (b *returning) admitOrAbandon(e *entry) error {
	err := b.admit(e)
	if err != nil {
		e.session.Fence(b.acquired.Epoch) // raises the epoch, so that the store does not refuse the next record as outdated
		b.abandon(e)
	}
	return err
}

// admit checks the client's key against the session, and records which bundle the client has.
func (b *returning) admit(e *entry) error {
	if b.key.Epoch > e.session.Epoch() {
		// The key is newer than the session on this node, so the client has connected to another
		// node and no longer uses its connection to this node.
		e.supersede(b.now)
	}
	if err := e.session.Admit(b.key.Epoch); err != nil {
		return err
	}
	if acked := e.session.Confirm(b.resume.Seq, b.resume.ExpiresAt, b.now); acked.Settled {
		e.emit(event{kind: evConfirmed, acked: acked})
	}
	return nil
}

// applyDecision ends the session if the decision denies it. Without an answer, or with an answer
// about a role that the session no longer has, the session continues within its grace period. The
// returned error is the answer to the client.
func (b *returning) applyDecision(e *entry) error {
	policy, d := &b.engine.config.Policy, &b.decision
	counts := d.Reason != session.ApprovalUnavailable && (policy.ApprovalAhead == 0 || d.Role == roleOf(e.session.Identity))
	switch {
	case !counts && !e.session.Approved(b.now):
		b.abandon(e)
		return session.ErrApprovalUnavailable
	case !counts: // the session is within its grace period, so it continues without approval
	case d.Allowed:
		e.session.Approve(d.Until, b.now)
	default:
		reason := session.EndDenied
		if d.Reason == session.Revoked {
			reason = session.EndRevoked
		}
		ending := e.session.Ending(reason)
		if e.session.Issued() {
			e.end(reason)
		} else { // the session was restored from its key alone, so the store has no record to end
			e.discard()
		}
		e.commit()
		return &session.EndedError{Ending: ending}
	}
	return nil
}

// abandon must be called if the client is refused. It discards a session that was restored from the
// key alone. It leaves any other session as it is.
func (b *returning) abandon(e *entry) {
	if !e.session.Issued() {
		e.discard()
	}
	e.commit()
}
