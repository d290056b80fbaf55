package authorize

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/panics"
	"refresher/internal/webhook"
)

// Config is what an Asker needs. URL, Secret, Patience, Logger and Registerer are
// required. The names in its errors are those of the flags.
type Config struct {
	// URL is where questions go: absolute, http or https, without a fragment.
	// A user and password in it are sent as basic authentication.
	URL string
	// Secret signs requests, and so does PreviousSecret, unless it is empty; see
	// package webhook for their forms.
	Secret, PreviousSecret string
	// QueueSize is how many questions may wait at once for their turn. Zero
	// means 100,000.
	QueueSize int
	// Concurrency is how many requests may be under way at once. Zero means 8.
	Concurrency int
	// Rate is how many requests may begin in a second, on average; Concurrency
	// of them may begin at once. Zero means 50.
	Rate int
	// Timeout bounds one request, from dialling to the end of the answer. Zero
	// means 2 s.
	Timeout time.Duration
	// Patience bounds an Ask as a whole, its wait for a turn included.
	Patience time.Duration
	// Panics reports what is recovered from in a request, which then counts as
	// failed. Nil: a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Client makes the requests, in tests; it follows no redirects, whatever
	// it says. Nil means one of the Asker's own, which honours the proxy
	// settings of the environment.
	Client *http.Client
}

// complete checks c, fills in its defaults and makes the endpoint.
func (c *Config) complete() (*webhook.Endpoint, error) {
	if c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("authorize: Logger and Registerer are required")
	}
	if c.QueueSize < 0 || c.Concurrency < 0 || c.Rate < 0 || c.Timeout < 0 {
		return nil, errors.New("authorize: QueueSize, Concurrency, Rate and Timeout: want 0 (the default) or more")
	}
	if c.Patience <= 0 {
		return nil, errors.New("authorize: Patience: want more than 0")
	}
	if c.QueueSize == 0 {
		c.QueueSize = 100_000
	}
	if c.Concurrency == 0 {
		c.Concurrency = 8
	}
	if c.Rate == 0 {
		c.Rate = 50
	}
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	return webhook.New(webhook.Config{
		Name: "authorize", URL: c.URL, Secret: c.Secret, PreviousSecret: c.PreviousSecret,
		Client: c.Client, Connections: c.Concurrency,
	})
}
