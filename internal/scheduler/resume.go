package scheduler

import (
	"context"

	"refresher/internal/session"
)

// Open decrypts the key in r and stores what it says in r.Claims. It refuses a key that is
// made up, revoked, superseded or past its end, and one whose session has ended, as far as
// this node knows: it asks neither the store nor the back end, so that a bad key costs
// other clients nothing. Errors are as for Resume.
func (s *Scheduler) Open(r *session.Resume) error {
	if err := r.Check(); err != nil {
		return err
	}
	key, err := s.config.Sealer.Open(r.Session, r.Key)
	if err != nil {
		return err
	}
	if !s.config.Serves(key.App) {
		return session.ErrUnknown
	}
	if d := s.config.Access.Recheck(&key); !d.Allowed {
		return refusal(d, r.ExpiresAt)
	}
	if _, err := s.peek(&key); err != nil {
		return err
	}
	if key.Terms.Until <= s.clock.now().Sec() {
		return &session.EndedError{Ending: session.Ending{Reason: session.EndExpired, AccessEndsAt: min(r.ExpiresAt, key.Terms.Until)}}
	}
	r.Claims = &key
	return nil
}

// refusal is the error for a client that comes back and may not. accessEndsAt is the
// client's claim. A wrong one misleads that client only.
func refusal(d session.Decision, accessEndsAt session.UnixSec) error {
	if d.Reason == session.Revoked {
		return &session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: accessEndsAt}}
	}
	return d.Err()
}

// peek looks at what this node knows of a session before anybody is asked: whether the
// client that the key was handed to has its connection here, and whether the key is good
// for nothing any more.
func (s *Scheduler) peek(k *session.ResumeClaims) (connected bool, err error) {
	e := s.table.get(k.Session)
	if e == nil {
		return false, nil
	}
	e.Lock()
	defer e.Unlock()
	if e.hasEndedOnPurpose() {
		return false, &session.EndedError{Ending: e.session.Ending(e.reason)}
	}
	return e.client != nil && e.session.Epoch() >= k.Epoch, e.session.Refusal(k.Epoch)
}

// Resume gives a session that is open, here, on another node or only in its key, a new
// connection with fresh tokens, and sends it `joined`. An attachment that is still there is
// told that it was superseded. The error is session.ErrUnknown when the key is no good, and
// a *session.EndedError when the session is over or the key is not its newest. If ctx ends
// before the store is asked for the session, Resume returns its error and leaves everything
// as it was.
func (s *Scheduler) Resume(ctx context.Context, r session.Resume, client session.Client) (a session.Attachment, err error) {
	operation := s.tracer.begin("resume", r.Session, s.clock.now().Wall)
	defer func() { operation.refused(err) }()
	ctx = operation.in(ctx)
	back := returning{engine: s, resume: r, attach: true}
	e, err := back.reopen(ctx)
	if err != nil {
		return nil, err
	}
	defer e.Unlock()
	defer e.contain(&err)
	tokens, err := e.mint(ctx, session.CauseResume, back.now)
	if err != nil {
		back.abandon(e)
		return nil, err
	}
	old := e.client
	defer func() {
		switch {
		case old == nil:
		case a == nil: // no new connection took its place: its client may come back
			old.CloseDead()
		default:
			old.End(e.session.Ending(session.EndSuperseded))
		}
	}()
	a, err = e.attach(operation, tokens, client, back.now)
	if err == nil && back.acquired.Known && back.acquired.Epoch == e.session.Epoch() { // the store knows of the attachment
		r := e.session.Record(e.reason, s.clock.now())
		e.saved = summarize(e, &r)
	}
	e.commit()
	return a, err
}

// RenewByKey is the way out for a client whose WebSocket is blocked: fresh tokens against
// its resume key. A connection that the session has stays. Errors are as for Resume.
func (s *Scheduler) RenewByKey(ctx context.Context, r session.Resume) (push session.Push, err error) {
	operation := s.tracer.begin("renewal over HTTP", r.Session, s.clock.now().Wall)
	defer func() { operation.refused(err) }()
	ctx = operation.in(ctx)
	back := returning{engine: s, resume: r}
	e, err := back.reopen(ctx)
	if err != nil {
		return session.Push{}, err
	}
	defer e.Unlock()
	defer e.contain(&err)
	s.table.postpone(e)
	if held := &back.acquired; held.Known && held.Record.State == session.Attached && !held.Record.OwnedBy(s.config.Node) {
		e.session.Skip()
	}
	if r.SeqUnknown && e.session.RenewRequestedOverHTTP(back.now) == session.Renew {
		if acked := e.session.AssumeTaken(back.now); acked.Settled {
			e.emit(event{kind: evConfirmed, acked: acked})
		}
	}
	s.tracer.replace(e, operation)
	if e.session.RenewRequestedOverHTTP(back.now) == session.Repeat {
		defer e.commit()
		e.emit(event{kind: evRepeated})
		e.session.DiscardApproval()
		return e.session.Again(back.now), nil
	}
	push, err = e.issue(session.CauseRenew, back.now)
	if err != nil {
		back.abandon(e)
		return session.Push{}, err
	}
	e.emit(of(evRenewed, &push))
	e.commit()
	return push, nil
}

// LeaveByKey ends a session against its resume key, as Leave does on its connection: for a
// client that has no connection at that moment. The session may be on another node, which
// learns of the end by the store, or in its key only. The customer's back end is not asked.
// Errors are as for Resume; an EndedError says that the session has ended before, or, if it
// is superseded, that it goes on with a newer key.
func (s *Scheduler) LeaveByKey(ctx context.Context, r session.Resume) (err error) {
	back := returning{engine: s, resume: r}
	connected, err := back.open()
	if err != nil {
		return err
	}
	if !connected {
		if back.acquired, err = s.cluster.Acquire(ctx, &back.key, false); err != nil {
			return err
		}
	}
	back.now = s.clock.now()
	e, err := back.find()
	if err != nil {
		return err
	}
	defer e.Unlock()
	defer e.contain(&err)
	back.update(e)
	if err := back.admitOrAbandon(e); err != nil {
		return err
	}
	if !e.session.Issued() {
		e.session.AssumeIssued()
	}
	e.session.Fence(back.acquired.Epoch)
	e.end(session.EndLeft)
	e.commit()
	return nil
}
