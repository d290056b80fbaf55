package scheduler

import (
	"context"

	"refresher/internal/session"
)

// Open decrypts the resume key in r and sets r.Claims. It refuses a key that is forged, revoked,
// superseded or expired, or whose session has ended on this node. It sends no request to the store
// or to your back end, so that clients with bad keys cannot overload the store or your back end.
// Errors are as for Resume.
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

// refusal returns the error for a returning client whose key is refused. accessEndsAt comes from
// the client's request. It is not checked, since a wrong value can mislead only that client.
func refusal(d session.Decision, accessEndsAt session.UnixSec) error {
	if d.Reason == session.Revoked {
		return &session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: accessEndsAt}}
	}
	return d.Err()
}

// peek checks a resume key against the sessions of this node only. connected reports whether a
// client with this key or a newer one is connected to this node. The error refuses a key that is
// superseded or whose session has ended.
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

// Resume gives an open session a new connection and sends `joined` with fresh tokens. It restores
// the session from the store, or from its resume key, if the session is not on this node. If the
// session has a connection on this node, Resume closes that connection as superseded. The error is
// session.ErrUnknown if the key is invalid, and a *session.EndedError if the session has ended or
// the key is superseded. If ctx ends before the request to the store, Resume returns the error of
// ctx and changes nothing.
func (s *Scheduler) Resume(ctx context.Context, r session.Resume, client session.Client) (a session.Attachment, err error) {
	operation := s.tracer.begin("resume", r.Session, s.clock.now().Wall)
	defer func() { operation.refused(err) }()
	ctx = operation.withSpan(ctx)
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
		case a == nil: // the new connection failed, so the client must not learn `superseded` on the old one: it may resume once more
			old.CloseDead()
		default:
			old.End(e.session.Ending(session.EndSuperseded))
		}
	}()
	a, err = e.attach(operation, tokens, client, back.now)
	// Acquire has stored the new epoch, so the session need not be saved.
	if err == nil && back.acquired.Known && back.acquired.Epoch == e.session.Epoch() {
		r := e.session.Record(e.reason, s.clock.now())
		e.saved = summarize(e, &r)
	}
	e.commit()
	return a, err
}

// RenewByKey returns fresh tokens for a resume key, for clients that cannot open a WebSocket. If
// the session has a connection, the connection stays open. Errors are as for Resume.
func (s *Scheduler) RenewByKey(ctx context.Context, r session.Resume) (push session.Push, err error) {
	operation := s.tracer.begin("renewal over HTTP", r.Session, s.clock.now().Wall)
	defer func() { operation.refused(err) }()
	ctx = operation.withSpan(ctx)
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
	e.emit(pushEvent(evRenewed, &push))
	e.commit()
	return push, nil
}

// LeaveByKey ends the session of a resume key, for a client that leaves its call without a
// connection. If the session is on another node, that node learns of the end from the store. No
// approval is requested. Errors are as for Resume. An EndedError means that the session had ended
// before or, with the reason EndSuperseded, that the session continues with a newer key.
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
