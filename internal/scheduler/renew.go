package scheduler

import (
	"context"
	"errors"
	"time"

	"refresher/internal/panics"
	"refresher/internal/session"
)

const (
	// retryAfterError is the wait before the next attempt to renew after minting failed.
	retryAfterError = time.Second
	// decideTimeout bounds the wait for a Decision. The timeout in package hook is
	// shorter, so it normally ends the wait first.
	decideTimeout = 10 * time.Second
)

// fire does the task that is due at the session's deadline.
func (e *entry) fire() {
	e.Lock()
	defer e.Unlock()
	defer e.contain(nil)
	defer e.commit()
	if e.session.State() == session.Ended { // the session ended after a worker had taken it out of the queue
		return
	}
	clock := &e.engine.clock
	now := clock.now()
	due := e.session.Deadline()
	task, cause := e.session.TakeTask(now)
	switch task {
	case session.Renew:
		at := session.Instant{Mono: due, Wall: now.Wall.Add(due - now.Mono)}
		e.emit(event{kind: evStarted, now: at})
		e.emit(event{kind: evDue, due: at, now: now})
		e.renew(cause, now)
		e.emit(event{kind: evTaskDone, lag: clock.now().Mono - due})
	case session.Repeat:
		e.send(e.session.Repeat(now))
		e.emit(event{kind: evTaskDone, lag: clock.now().Mono - due})
	case session.CloseDead:
		e.emit(event{kind: evSilent})
		client := e.client
		e.detach(e.session.AttachedEpoch(), now)
		client.CloseDead()
	case session.Unreachable:
		e.emit(event{kind: evUnreachable})
	case session.TokensExpired:
		e.reportExpiry(false)
	case session.Expire:
		e.end(session.EndExpired)
	case session.Ask:
		e.requestApproval(now)
	case session.Deny:
		e.emit(event{kind: evDeniedUnanswered})
		e.end(session.EndDenied)
	case session.Wait:
	}
}

// renewSoon renews the session: at once, or as soon as MayRenew allows it.
func (e *entry) renewSoon(cause session.Cause, now session.Instant) {
	if e.session.MayRenew(now) {
		e.renew(cause, now)
	} else {
		e.session.Want(cause, now)
	}
}

// renew mints a new bundle and sends it to the client.
func (e *entry) renew(cause session.Cause, now session.Instant) {
	e.emit(event{kind: evStarted, now: now})
	push, err := e.issue(cause, now)
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		e.end(ended.Reason)
		return
	}
	if err != nil {
		e.emit(event{kind: evMintFailed, err: err, now: e.engine.clock.now()})
		e.session.Defer(retryAfterError, now)
		return
	}
	e.send(push)
}

// issue mints the session's next bundle and returns the push to send.
func (e *entry) issue(cause session.Cause, now session.Instant) (session.Push, error) {
	tokens, err := e.mint(e.operation.context(), cause, now)
	if err != nil {
		return session.Push{}, err
	}
	push := e.session.Issue(tokens, cause, now)
	e.emit(pushEvent(evIssued, &push))
	if push.Rejoin {
		e.reportExpiry(true)
	}
	return push, nil
}

// mint mints the tokens of the session's next bundle. The error is an EndedError if the session is
// revoked or its terms have ended.
func (e *entry) mint(ctx context.Context, cause session.Cause, now session.Instant) (session.Tokens, error) {
	s := e.engine
	if e.isRevoked() {
		return session.Tokens{}, &session.EndedError{Ending: e.session.Ending(session.EndRevoked)}
	}
	issuedAt, expiresAt, err := e.session.NextValidity(now)
	if err != nil {
		return session.Tokens{}, err
	}
	_, span := s.tracer.span(ctx, "mint")
	tokens, err := s.config.Minter.Mint(e.session.App, e.session.Identity, e.session.Terms.Format, cause, issuedAt, expiresAt)
	endSpan(span, err)
	// A *session.Error means that Agora does not allow the session's channel or user id. That is no
	// failure of the node, so Health does not report it.
	if _, refused := errors.AsType[*session.Error](err); !refused {
		s.health.minted(err, now.Mono)
	}
	return tokens, err
}

// isRevoked reports whether a revocation matches the session. It passes e.claims although the
// epoch, role and terms in it may be outdated. Revocations do not match by these, but by the
// project, subject, channel and users, which never change.
func (e *entry) isRevoked() bool { return e.engine.config.Access.Revoked(&e.claims) }

// reportExpiry emits evTokensExpired once for each expiry of the client's tokens. The argument
// rejoin is true if the next push makes the client join its call again, and false if no client is
// connected.
func (e *entry) reportExpiry(rejoin bool) {
	if e.session.ReportExpiry() {
		e.emit(event{kind: evTokensExpired, rejoin: rejoin})
	}
}

// send writes push to the client, if one is connected, and records that the client must answer it.
func (e *entry) send(push session.Push) {
	if e.client != nil {
		e.session.Sent()
		e.push(push)
	}
}

// push writes push to the client. If the write fails, it detaches the session.
func (e *entry) push(push session.Push) {
	e.emit(pushEvent(evPushing, &push))
	_, span := e.engine.tracer.span(e.operation.context(), "push")
	err := e.client.Push(push)
	endSpan(span, err)
	if err == nil {
		e.emit(pushEvent(evPushed, &push))
		return
	}
	e.emit(event{kind: evPushFailed, err: err})
	e.detach(e.session.AttachedEpoch(), e.engine.clock.now())
}

// requestApproval requests your back end's approval of the next renewal, in another goroutine.
func (e *entry) requestApproval(now session.Instant) {
	s := e.engine
	seq := e.session.BeginApproval(now)
	key, before := e.session.Claims(), e.session
	e.emit(event{kind: evStarted, now: now})
	ctx := e.operation.context()
	s.asking.Go(func() {
		d := s.decide(ctx, session.Request{Action: session.ActionRenew, Claims: &key})
		e.change(func() bool {
			s.approvalAnswered(e, d, before, seq)
			return true
		})
	})
}

// approvalAnswered applies a decision about the next renewal. before and seq are the values of
// e.session and of its newest bundle's seq when the decision was requested.
func (s *Scheduler) approvalAnswered(e *entry, d session.Decision, before *session.Session, seq uint64) {
	now := s.clock.now()
	switch {
	case e.session.State() == session.Ended:
	case d.Reason == session.Revoked:
		e.end(session.EndRevoked)
	case d.Reason == session.Denied: // a denial ends the session even if it comes late
		e.end(session.EndDenied)
	case e.session != before || !e.session.AwaitsApproval(seq):
		// The answer no longer counts, because tokens were minted meanwhile.
	case !d.Allowed:
		e.emit(event{kind: evApprovalUnavailable, err: d.Cause})
		e.session.ApprovalUnavailable(d.RetryAfter, now)
	case d.Role != roleOf(e.session.Identity): // the approval is for the previous role: request one for the new role
		e.session.DiscardApproval()
	default:
		e.session.Approve(d.Until, now)
	}
}

// decide returns the Decision of Access. If Access panics, decide returns ApprovalUnavailable.
func (s *Scheduler) decide(ctx context.Context, r session.Request) (d session.Decision) {
	var err error
	defer func() {
		if err != nil {
			d = session.Refuse(session.ApprovalUnavailable)
			d.Cause = err
		}
	}()
	defer s.config.Panics.Recover(panics.Session, &err, "session", r.Claims.Session)
	if s.config.Policy.ApprovalAhead == 0 {
		return s.config.Access.Authorize(ctx, r)
	}
	ctx, span := s.tracer.span(ctx, "authorize")
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	d = s.config.Access.Authorize(ctx, r)
	endSpan(span, d.Cause)
	return d
}
