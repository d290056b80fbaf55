package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access"
	"refresher/internal/authorize"
	"refresher/internal/panics"
	"refresher/internal/scheduler"
	"refresher/internal/session"
)

// How long before a renewal the back end is asked, and how long the question may
// take in all.
const (
	askAhead    = 15 * time.Second
	askPatience = 8 * time.Second
)

// newApproval makes what asks the customer's back end; nil if there is none.
func newApproval(c Config, reports *panics.Reporter, logger *slog.Logger, r prometheus.Registerer) (*authorize.Asker, error) {
	if c.AuthorizeURL == "" {
		return nil, nil
	}
	return authorize.New(authorize.Config{
		URL: c.AuthorizeURL, Secret: c.AuthorizeSecret, PreviousSecret: c.AuthorizePreviousSecret,
		Timeout: c.AuthorizeTimeout, Patience: askPatience,
		Panics: reports, Logger: logger.With("component", "authorize"), Registerer: r,
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
