package access

import (
	"context"
	"errors"
	"time"

	"refresher/internal/hook"
	"refresher/internal/session"
)

// Decide says whether something may be done now, in the order that the package's
// documentation gives. It waits for the customer's back end, if there is one to ask; if
// ctx is done before that has answered, the Decision is ApprovalUnavailable.
func (a *Access) Decide(ctx context.Context, r session.Request) session.Decision {
	d := a.decide(ctx, &r)
	if rtc := r.Claims.Identity.RTC; rtc != nil {
		d.Role = rtc.Role
	}
	return d
}

func (a *Access) decide(ctx context.Context, r *session.Request) session.Decision {
	var until session.UnixSec
	if r.Caller != nil {
		if err := covers(r.Caller, r.Claims.Identity); err != nil {
			return notGranted(err)
		}
		until = r.Caller.Grant.Until
	}
	if d := a.Recheck(r.Claims); !d.Allowed {
		return d
	}
	if a.approval != nil && r.Claims.Identity != (session.Identity{}) {
		answer, err := a.ask(ctx, r)
		switch {
		case err != nil:
			d := session.Refuse(session.ApprovalUnavailable)
			d.Cause = err
			return d
		case !answer.Allow:
			return session.Refuse(session.Denied)
		case answer.Until > 0 && (until == 0 || answer.Until < until):
			until = answer.Until
		}
		if d := a.Recheck(r.Claims); !d.Allowed { // tokens without a session have no other second look
			return d
		}
	}
	if r.Caller != nil && until != 0 && until <= session.SecOf(time.Now()) {
		return session.Refuse(session.Denied)
	}
	return session.Decision{Allowed: true, Until: until}
}

// Recheck refuses what a revocation matches by now, and everything while the node is
// RevocationsUnknown. It does no I/O.
func (a *Access) Recheck(k *session.ResumeClaims) session.Decision {
	switch {
	case !a.revocations.Loaded():
		return session.Refuse(session.RevocationsUnknown)
	case a.revocations.Revoked(k):
		return session.Refuse(session.Revoked)
	}
	return session.Decision{Allowed: true}
}

// Revoked reports whether a revocation matches a session by now. A node that is RevocationsUnknown
// answers by the revocations that were added on it. It does no I/O. The package's
// documentation has the reason for it.
func (a *Access) Revoked(k *session.ResumeClaims) bool { return a.revocations.Revoked(k) }

// covers refuses what a caller's credential does not grant in full. The application's own
// token, which is no user's, has no identity.
func covers(c *session.Caller, id session.Identity) error {
	if id == (session.Identity{}) && !c.Admin && !c.Grant.All {
		return session.Errorf(session.CodeForbidden, `the application's own Chat token wants a credential with the scope "admin"`)
	}
	return c.Grant.Covers(id)
}

func notGranted(err error) session.Decision {
	refusal, _ := errors.AsType[*session.Error](err)
	return session.Decision{Reason: session.NotGranted, Refusal: refusal}
}

// ask asks the customer's back end. A denial that ends a session always has a line in the
// log.
func (a *Access) ask(ctx context.Context, r *session.Request) (hook.Answer, error) {
	k := r.Claims
	answer, err := a.approval.Ask(ctx, hook.Question{
		Action: r.Action, App: k.App, Session: k.Session, Subject: k.Subject, Identity: k.Identity,
	})
	if err != nil || answer.Allow {
		return answer, err
	}
	if logged, _ := a.denials.Allow(k.App + " " + k.Subject); logged || r.Action == session.ActionRenew {
		a.logger.Info("the back end denied", "action", string(r.Action), "app_id", k.App, "session", k.Session, "reason", answer.Reason)
	}
	return answer, nil
}
