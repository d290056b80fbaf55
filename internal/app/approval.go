package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access"
	"refresher/internal/hook"
	"refresher/internal/panics"
	"refresher/internal/scheduler"
	"refresher/internal/session"
)

// askAhead is how long before a renewal the back end is asked: longer than an Ask takes.
const askAhead = 15 * time.Second

// newApproval makes what asks the customer's back end; nil if there is none.
func newApproval(c Config, reports *panics.Reporter, logger *slog.Logger, r prometheus.Registerer) (*hook.Approval, error) {
	if c.AuthorizeURL == "" {
		return nil, nil
	}
	return hook.NewApproval(hook.Config{
		URL: c.AuthorizeURL, Secret: c.AuthorizeSecret, PreviousSecret: c.AuthorizePreviousSecret,
		Timeout: c.AuthorizeTimeout, Panics: reports, Logger: logger.With("component", "authorize"), Registerer: r,
	})
}

// consentBy puts the scheduler's questions to an Access. A revocation that came while the
// back end was asked is found by the scheduler's own second look.
func consentBy(who *access.Access) func(context.Context, session.Action, session.Key) (scheduler.Answer, error) {
	return func(ctx context.Context, action session.Action, k session.Key) (scheduler.Answer, error) {
		d := who.Decide(ctx, session.Request{Action: action, Key: &k})
		if d.Reason == session.Unasked || d.Reason == session.Uninformed {
			return scheduler.Answer{}, d.Err()
		}
		return scheduler.Answer{Agreed: d.Reason != session.Denied, Until: d.Until}, nil
	}
}
