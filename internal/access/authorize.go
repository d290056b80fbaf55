package access

import (
	"context"
	"errors"
	"time"

	"refresher/internal/hook"
	"refresher/internal/session"
)

// Authorize decides whether a request is allowed now. It makes the checks in the order that the
// package documentation lists. It waits for the back end's approval, if one is configured; if
// ctx is done before the answer, the decision is ApprovalUnavailable.
func (a *Access) Authorize(ctx context.Context, r session.Request) session.Decision {
	d := a.authorize(ctx, &r)
	if rtc := r.Claims.Identity.RTC; rtc != nil {
		d.Role = rtc.Role
	}
	return d
}

func (a *Access) authorize(ctx context.Context, r *session.Request) session.Decision {
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
		// A revocation may have been added while the back end decided, so the revocations are checked again. For a
		// token without a session, no later check of the revocations follows.
		if d := a.Recheck(r.Claims); !d.Allowed {
			return d
		}
	}
	if r.Caller != nil && until != 0 && until <= session.SecOf(time.Now()) {
		return session.Refuse(session.Denied)
	}
	return session.Decision{Allowed: true, Until: until}
}

// Recheck refuses a session if a revocation now matches it. Until the node has read the revocations from the store,
// Recheck refuses every session with RevocationsUnknown. It does no I/O.
func (a *Access) Recheck(k *session.ResumeClaims) session.Decision {
	switch {
	case !a.revocations.Loaded():
		return session.Refuse(session.RevocationsUnknown)
	case a.revocations.Revoked(k):
		return session.Refuse(session.Revoked)
	}
	return session.Decision{Allowed: true}
}

// Revoked reports whether a revocation matches a session now. The package documentation says why revocations are
// checked twice. Before the node has read the store, the node knows only the revocations that were added on the node
// itself. Revoked does no I/O.
func (a *Access) Revoked(k *session.ResumeClaims) bool { return a.revocations.Revoked(k) }

// covers returns an error unless the caller's credential grants the whole identity. An empty
// identity stands for Chat's app token, which belongs to no user.
func covers(c *session.Caller, id session.Identity) error {
	if id == (session.Identity{}) && !c.Admin && !c.Grant.All {
		return session.Errorf(session.CodeForbidden, `Chat's app token requires a credential with the scope "admin"`)
	}
	return c.Grant.Covers(id)
}

func notGranted(err error) session.Decision {
	refusal, _ := errors.AsType[*session.Error](err)
	return session.Decision{Reason: session.NotGranted, Refusal: refusal}
}

// ask requests the back end's approval and logs a denial. The rate of log lines for one subject is limited, but a
// denial that ends a session is always logged.
func (a *Access) ask(ctx context.Context, r *session.Request) (hook.Answer, error) {
	k := r.Claims
	answer, err := a.approval.Request(ctx, hook.Request{
		Action: r.Action, App: k.App, Session: k.Session, Subject: k.Subject, Identity: k.Identity,
	})
	if err != nil || answer.Allow {
		return answer, err
	}
	if logged, _ := a.denialLines.Allow(k.App + " " + k.Subject); logged || r.Action == session.ActionRenew {
		a.logger.Info("the back end denied a request", "action", string(r.Action), "app_id", k.App, "session", k.Session, "reason", answer.Reason)
	}
	return answer, nil
}
