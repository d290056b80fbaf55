package app

import (
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/events"
	"refresher/internal/panics"
	"refresher/internal/scheduler"
	"refresher/internal/session"
	"refresher/internal/store"
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

// announce turns the scheduler's announcements into events.
func announce(s *events.Sender) func(scheduler.Announcement, func(bool)) {
	if s == nil {
		return nil
	}
	return func(a scheduler.Announcement, settled func(bool)) { s.Send(event(&a), settled) }
}

// event has an id that is the same on every node that may announce it.
func event(a *scheduler.Announcement) events.Event {
	r := &a.Record
	e := events.Event{
		At: time.Now(), Session: r.Session, Identity: r.Identity, Seq: r.Seq, ExpiresAt: r.ExpiresAt, Node: a.Node,
	}
	switch {
	case a.What == store.DeliveredJoined:
		e.Type, e.ID = events.Joined, r.Session+"-joined"
	case a.What == store.DeliveredUnreachable:
		e.Type, e.ID = events.Unreachable, r.Session+"-unreachable-"+strconv.FormatUint(r.Seq, 10)
	case r.Reason == session.EndExpired:
		e.Type, e.ID = events.Expired, r.Session+"-expired-"+strconv.FormatUint(r.Seq, 10)
	default:
		e.Type, e.ID, e.Reason = events.Ended, r.Session+"-ended", r.Reason
	}
	return e
}
