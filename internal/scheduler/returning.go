package scheduler

import (
	"context"

	"refresher/internal/session"
	"refresher/internal/store"
)

// returning is the handling of a client that comes back with its session's resume key.
type returning struct {
	engine   *Scheduler
	resume   session.Resume
	attach   bool                 // the client is to have a connection
	key      session.ResumeClaims // what its resume key says
	decision session.Decision
	acquired store.Acquired // the store's answer
	made     bool           // the session was not on this node: it was made from acquired, or the key
	now      session.Instant
}

// reopen finds the session, or makes it anew from the store's record or the key, and takes
// note of what the client says that it has. On success the entry is locked, and the caller
// must commit or abandon.
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

// open decrypts the client's key, unless that was done before, and reports what peek does.
func (b *returning) open() (connected bool, err error) {
	if b.resume.Claims == nil {
		if err := b.engine.Open(&b.resume); err != nil {
			return false, err
		}
	}
	b.key = *b.resume.Claims
	return b.engine.peek(&b.key)
}

// inRole returns a key with the role that the session has by now, on this node or by the
// store: an operator may have changed it since the key was handed out.
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

// find returns the session's entry, locked; one that this node does not have is made. The
// error is an EndedError.
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
			e.Lock() // free: nobody else has it
			if s.table.insert(e, over, false) {
				e.emit(event{kind: evOpened})
				b.made = true
				return e, nil
			}
			continue // another goroutine was faster: look again
		}
		e.Lock()
		if e.session.State() == session.Ended { // between the two locks: look again
			e.Unlock()
			continue
		}
		if b.key.Fits(&e.claims) {
			return e, nil
		}
		b.dropMismatched(e)
	}
}

// dropMismatched drops a session that was adopted from a record that does not match its key, and
// unlocks it.
func (b *returning) dropMismatched(e *entry) {
	defer e.Unlock()
	defer e.contain(nil)
	b.engine.config.Logger.Error("a session's record does not match its key; the key counts", "session", e.claims.Session)
	e.discard()
	e.commit()
}

// refuseEnded refuses the key of a session that ended on purpose, with an EndedError, and has
// the end saved under the epoch that the store has just given out. It returns nil if the
// session expired: then its key opens it anew.
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

// makeEntry makes an entry from the session's record, or from its key if the store has
// none.
func (b *returning) makeEntry() *entry {
	if !b.acquired.Known {
		return b.engine.newEntry(session.New(b.key, &b.engine.config.Policy, b.now))
	}
	r := b.acquired.Record
	if r.State == session.Ended { // it has expired, and its client comes back after all
		r.State, r.Reason = session.Detached, ""
		r.DetachedAt = b.now.Milli()
		r.Delivered &^= store.DeliveredEnd
	}
	return b.engine.restore(&r, b.now)
}

// readmit brings the session up to date for the client that is back. On an error the session
// is ended or abandoned.
func (b *returning) readmit(e *entry) (err error) {
	defer e.contain(&err)
	held := &b.acquired
	b.update(e)
	if e.isRevoked() { // after Open admitted the client, and before Revoke could find the session
		ending := e.session.Ending(session.EndRevoked)
		e.session.Fence(held.Epoch) // the store has the session under this epoch
		e.end(session.EndRevoked)
		e.commit()
		return &session.EndedError{Ending: ending}
	}
	if err := b.admitOrAbandon(e); err != nil {
		return err
	}
	if r := &held.Record; held.Known && r.WishVersion > e.wish {
		cause := e.adoptRole(r.WishVersion, roleOf(r.Identity))
		if e.session.RenewRequestedOverHTTP(b.now) == session.Repeat { // the same tokens again
			e.session.Want(cause, b.now)
		}
	}
	if err := b.applyDecision(e); err != nil {
		return err
	}
	fence := held.Epoch
	if b.attach && fence > 0 {
		fence-- // attaching raises it
	}
	e.session.Fence(fence)
	return nil
}

// update replaces the session by the one in the store's record if that is newer.
func (b *returning) update(e *entry) {
	held := &b.acquired
	if !b.made && held.Known && !held.Record.OwnedBy(b.engine.config.Node) && held.Record.Epoch >= e.session.Epoch() {
		b.replace(e)
	}
}

// replace replaces the session by the one in the store's record, which is newer: the session
// has been on another node since.
func (b *returning) replace(e *entry) {
	e.supersede(b.now)
	newer := b.makeEntry()
	role := roleOf(e.session.Identity)
	e.session, e.delivered, e.sent = newer.session, newer.delivered, 0
	if newer.wish < e.wish { // made here while the store was away
		e.session.SetRole(role)
	}
	e.wish = max(e.wish, newer.wish)
}

// admitOrAbandon is admit, and abandons the session if the key is refused.
func (b *returning) admitOrAbandon(e *entry) error {
	err := b.admit(e)
	if err != nil {
		e.session.Fence(b.acquired.Epoch) // the store has this epoch already
		b.abandon(e)
	}
	return err
}

// admit checks the client's key against the session, and takes note of what the client
// confirms.
func (b *returning) admit(e *entry) error {
	if b.key.Epoch > e.session.Epoch() {
		// The client has been on another node since: what is connected here is a
		// connection that it has given up.
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

// applyDecision ends a session that is denied. If the back end did not answer, or was asked
// about another role than the session has now, the session goes on within its grace period.
// The error is for the client.
func (b *returning) applyDecision(e *entry) error {
	policy, d := &b.engine.config.Policy, &b.decision
	counts := d.Reason != session.ApprovalUnavailable && (policy.ApprovalAhead == 0 || d.Role == roleOf(e.session.Identity))
	switch {
	case !counts && !e.session.Approved(b.now):
		b.abandon(e)
		return session.ErrApprovalUnavailable
	case !counts: // it is within its grace
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
		} else { // it was made from its key alone, so no record says that it was denied
			e.discard()
		}
		e.commit()
		return &session.EndedError{Ending: ending}
	}
	return nil
}

// abandon is called if the client does not get its session back. It discards a session that
// was made from the key alone, and leaves any other as it is.
func (b *returning) abandon(e *entry) {
	if !e.session.Issued() {
		e.discard()
	}
	e.commit()
}
