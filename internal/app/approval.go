package app

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/hook"
	"refresher/internal/panics"
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
