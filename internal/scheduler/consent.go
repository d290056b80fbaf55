package scheduler

import (
	"context"
	"log/slog"
	"time"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// Answer is the back end's.
type Answer struct {
	Agreed bool
	// Until is the second after which the session must not go on; 0: it
	// says nothing of that.
	Until session.UnixSec
}

// askTimeout bounds every question; Consent has a closer bound of its own.
const askTimeout = 10 * time.Second

// askAgain is when a question is put again that could not be answered.
const askAgain = 2 * time.Second

// consent asks the back end, if it is to be asked, and waits for its word.
func (s *Scheduler) consent(ctx context.Context, action session.Action, k *session.Key) (answer Answer, err error) {
	if s.config.Consent == nil {
		return Answer{Agreed: true}, nil
	}
	defer s.config.Panics.Recover(panics.Session, &err, "session", k.Session)
	ctx, span := s.span(ctx, "authorize")
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err = s.config.Consent(ctx, action, *k)
	endSpan(span, err)
	return answer, err
}

// mayJoin says until when a session may go on that is about to be joined, or
// refuses it, with a *session.Error.
func (s *Scheduler) mayJoin(ctx context.Context, k *session.Key) (until session.UnixSec, err error) {
	if s.config.Revocations.Revoked(k) {
		return 0, session.ErrRevoked
	}
	answer, err := s.consent(ctx, session.ActionJoin, k)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		s.config.Logger.Debug("a join could not be authorized", "error", err)
		return 0, session.ErrUnasked
	case !answer.Agreed:
		return 0, session.ErrDenied
	}
	return answer.Until, nil
}

// answered takes what the back end said about a client that is back. The error is
// what to tell the client; the session is ended then, or let go. asked: it said
// something. e.mu is held.
func (s *Scheduler) answered(e *entry, answer Answer, asked bool, now session.Instant) error {
	switch {
	case !asked && !e.session.Agreed(now):
		s.abandon(e)
		return session.ErrUnasked
	case !asked: // it is within its grace
	case !answer.Agreed:
		ending := e.session.Ending(session.EndDenied)
		if e.session.Issued() {
			s.end(e, session.EndDenied)
		} else { // nothing is known of it but its key: nobody remembers that it was denied
			s.discard(e)
		}
		s.commit(e)
		return &session.EndedError{Ending: ending}
	default:
		e.session.Approve(answer.Until, now)
	}
	return nil
}

// ask puts the question of a renewal that is coming, and does not wait. e.mu is
// held.
func (s *Scheduler) ask(e *entry, now session.Instant) {
	seq := e.session.Asking(now)
	key, asked := e.session.Key(), e.session
	s.follow(e, now.Wall)
	ctx := e.trail.context()
	s.aside.Go(func() {
		answer, err := s.consent(ctx, session.ActionRenew, &key)
		s.do(e, func() {
			now := s.clock.now()
			switch {
			case e.session.State() == session.Ended:
			case err == nil && !answer.Agreed: // also where it is late
				s.end(e, session.EndDenied)
			case e.session != asked || !e.session.Awaits(seq): // tokens were minted meanwhile
			case err != nil:
				s.log(e, slog.LevelDebug, "a renewal could not be authorized", "error", err)
				e.session.Unanswered(askAgain, now)
			case roleOf(key.Identity) != roleOf(e.session.Identity): // changed meanwhile: the new one is asked about
				e.session.Unspent()
			default:
				e.session.Approve(answer.Until, now)
			}
			s.commit(e)
		})
	})
}

// want renews a session for a cause: at once, or as soon as it may be. e.mu is held.
func (s *Scheduler) want(e *entry, cause session.Cause, now session.Instant) {
	if !e.session.MayRenew(now) {
		e.session.Want(cause, now)
		return
	}
	s.renew(e, cause, now)
}

// inRole is a key with the role that the session has by now: an operator may have
// changed it since the key was handed out.
func (s *Scheduler) inRole(ctx context.Context, k session.Key) session.Key {
	if s.config.Consent == nil || k.Identity.RTC == nil {
		return k
	}
	now := s.identity(ctx, &k)
	if now.RTC != nil {
		rtc := *k.Identity.RTC
		rtc.Role = now.RTC.Role
		k.Identity.RTC = &rtc
	}
	return k
}

// identity is that of a session as this node has it, or else the store; the key's own
// if neither does, or the store does not answer in time.
func (s *Scheduler) identity(ctx context.Context, k *session.Key) session.Identity {
	if e := s.lookUp(k.Session); e != nil {
		e.mu.Lock()
		defer e.unlock()
		return e.session.Identity
	}
	if s.outbox.reachable(store.ShardOf(k.Session)) {
		ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
		defer cancel()
		if r, known, err := s.config.Records.Get(ctx, k.Session); err == nil && known && r.Fits(k) {
			return r.Identity
		}
	}
	return k.Identity
}
