package events

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Sender needs. URL, Secret, Logger and Registerer are
// required. The names in its errors are those of the flags.
type Config struct {
	// URL is where events go: absolute, http or https, without a fragment. A
	// user and password in it are sent as basic authentication.
	URL string
	// Secret signs deliveries, see Verify; at least 16 bytes.
	Secret []byte
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
	MaxAge     time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Client makes the requests, in tests; it follows no redirects, whatever
	// it says. Nil means one of the Sender's own, which honours the proxy
	// settings of the environment.
	Client *http.Client
}

// complete checks c and fills in its defaults.
func (c *Config) complete() (*url.URL, error) {
	if c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("events: Logger and Registerer are required")
	}
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("events-secret: want at least %d bytes, have %d", minSecret, len(c.Secret))
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
	return u, nil
}

// parseURL reads the events URL. Its errors repeat nothing of it, and neither
// the errors of net/url: any part may be a password that was not escaped.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("events-url: want a form like https://app.example.com/events; special characters in a user, password or query want %-encoding")
	case strings.Contains(text, "#"):
		return nil, errors.New("events-url: want no fragment (#)")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New("events-url: want a port from 1 to 65535")
		}
	}
	return u, nil
}

// location is what logs may say of u.
func location(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// isLoopback reports whether host is this machine to itself.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
