package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"refresher/internal/session"
)

// errFull refuses a join when MaxSessions sessions are attached to the node. The client tries again
// after RetryAfter. Another session may have ended meanwhile, or the load balancer may choose
// another node.
var errFull = &session.Error{Code: session.CodeUnavailable, Message: "this node has no room for another session; try again", RetryAfter: 5 * time.Second}

// Join opens a session for client and sends `joined`. The error is a *session.Error if the request
// is invalid or refused, or the node is full. If ctx ends while Join waits for your back end, Join
// returns the error of ctx and opens no session.
func (s *Scheduler) Join(ctx context.Context, j session.Join, client session.Client) (a session.Attachment, err error) {
	now := s.clock.now()
	terms, err := s.config.Policy.Terms(&j, now)
	if err != nil {
		return nil, err
	}
	key := session.ResumeClaims{Session: rand.Text(), App: j.Caller.App, Subject: j.Caller.Subject, Identity: j.Identity, Terms: terms}
	operation := s.tracer.begin("join", key.Session, now.Wall)
	defer func() { operation.refused(err) }()
	ctx = operation.withSpan(ctx)
	decision := s.decide(ctx, session.Request{Action: session.ActionJoin, Claims: &key, Caller: &j.Caller})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if decision.Reason == session.ApprovalUnavailable {
		s.config.Logger.Debug("no approval for a join: the back end is unavailable", "error", decision.Cause)
	}
	if err := decision.Err(); err != nil {
		return nil, err
	}
	now = s.clock.now() // reads the clock again, since your back end may have taken a while to answer
	opened := session.New(key, &s.config.Policy, now)
	opened.Approve(decision.Until, now)
	e := s.newEntry(opened)
	e.Lock()
	defer e.Unlock()
	defer e.contain(&err)
	tokens, err := e.mint(ctx, session.CauseJoin, now)
	if ended, ok := errors.AsType[*session.EndedError](err); ok { // the session is revoked, or its terms have ended
		if ended.Reason == session.EndRevoked {
			return nil, session.ErrRevoked
		}
		return nil, session.ErrDenied
	}
	if err != nil {
		return nil, err
	}
	if !s.table.join(e) {
		return nil, errFull
	}
	e.opened()
	defer e.commit()
	// Revoke ends only sessions that are in the table. If it ran before table.join, it has missed
	// this session, so the revocations are checked once more.
	if e.isRevoked() {
		e.discard()
		return nil, session.ErrRevoked
	}
	return e.attach(operation, tokens, client, now)
}
