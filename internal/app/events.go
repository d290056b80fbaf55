package app

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/events"
	"refresher/internal/panics"
	"refresher/internal/session"
)

// newSender tells the customer's back end what happens to sessions, if it wants
// to know.
func newSender(c Config, reports *panics.Reporter, logger *slog.Logger, r prometheus.Registerer) (*events.Sender, error) {
	switch {
	case c.EventsURL != "":
	case c.EventsSecret != "":
		return nil, errors.New("events-secret: set without events-url, which says where to")
	case c.EventsPreviousSecret != "":
		return nil, errors.New("events-previous-secret: set without events-url, which says where to")
	default:
		return nil, nil
	}
	return events.New(events.Config{
		URL: c.EventsURL, Secret: c.EventsSecret, PreviousSecret: c.EventsPreviousSecret,
		Panics: reports, Logger: logger.With("component", "events"), Registerer: r,
	})
}

// announce hands the scheduler's events to the sender.
func announce(s *events.Sender) func(session.Event, func(bool)) {
	if s == nil {
		return nil
	}
	return s.Send
}
