package events

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/panics"
	"refresher/internal/webhook"
)

// Config is what a Sender needs. URL, Secret, Logger and Registerer are
// required. The names in its errors are those of the flags.
type Config struct {
	// URL is where events go: absolute, http or https, without a fragment. A
	// user and password in it are sent as basic authentication.
	URL string
	// Secret signs deliveries, and so does PreviousSecret, unless it is empty; see
	// package webhook for their forms.
	Secret, PreviousSecret string
	// QueueSize is how many events may be unsettled at once. Each takes about
	// 0.6 KiB. Zero means 100,000.
	QueueSize int
	// Concurrency is how many deliveries may be under way at once, each of
	// another session. Zero means 4.
	Concurrency int
	// Timeout bounds one attempt, from dialling to the end of the answer.
	// Zero means 10 s.
	Timeout time.Duration
	// MaxAge is how long after Send an event is given up. Zero means 24 h.
	MaxAge time.Duration
	// Panics reports what is recovered from in an attempt, which then counts as
	// failed. Nil: a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Client makes the requests, in tests; it follows no redirects, whatever
	// it says. Nil means one of the Sender's own, which honours the proxy
	// settings of the environment.
	Client *http.Client
}

// complete checks c, fills in its defaults and makes the endpoint.
func (c *Config) complete() (*webhook.Endpoint, error) {
	if c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("events: Logger and Registerer are required")
	}
	if c.QueueSize < 0 || c.Concurrency < 0 || c.Timeout < 0 || c.MaxAge < 0 {
		return nil, errors.New("events: QueueSize, Concurrency, Timeout and MaxAge: want 0 (the default) or more")
	}
	if c.QueueSize == 0 {
		c.QueueSize = 100_000
	}
	if c.Concurrency == 0 {
		c.Concurrency = 4
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxAge == 0 {
		c.MaxAge = 24 * time.Hour
	}
	return webhook.New(webhook.Config{
		Name: "events", URL: c.URL, Secret: c.Secret, PreviousSecret: c.PreviousSecret,
		Client: c.Client, Connections: c.Concurrency,
	})
}
