package app

import (
	"errors"
	"io/fs"
	"net/http"
	"time"

	"refresher/internal/access"
	"refresher/internal/hook"
	"refresher/internal/project"
	"refresher/internal/redis"
	"refresher/internal/session"
)

// Config is every setting of the service. The names in its errors are those of
// the flags.
type Config struct {
	// Listen is the address of the public port: host:port, or unix: and the path
	// of a socket, whose file gets SocketMode.
	Listen     string
	SocketMode fs.FileMode
	OpsListen  string // address of the operations port
	// BasePath is the path that everything on the public port is under, such as
	// "/refresher"; empty or "/": the root.
	BasePath string
	// IdleTimeout is how long the public port keeps an HTTP connection open that
	// carries no request. A balancer that keeps connections longer than that
	// sends requests on connections that are just being closed.
	IdleTimeout time.Duration

	project.Settings

	Policy         session.Policy
	Heartbeat      time.Duration // the longest between two pings of a client
	DrainWindow    time.Duration
	MaxSessions    int
	JoinRate       float64 // joins a second, 0 = unlimited
	AllowedOrigins []string

	// Redis is where the sessions are kept that several nodes share. Without a URL they are
	// kept in this process.
	Redis redis.Config
	// Events and Authorize are the endpoints of the customer's back end that receive what
	// happens to sessions, and that decide whether they may go on. Without a URL there is
	// none.
	Events, Authorize hook.Config

	access.Rules

	// TLSCertFile and TLSKeyFile serve the public port by TLS; empty: in the
	// clear, as behind a proxy.
	TLSCertFile, TLSKeyFile string
	// Page, when set, is called once and makes what serves every path of the
	// public port that is not an endpoint; metrics serves the text of the
	// operations port's /metrics. It is behind the same checks of Host and Origin
	// as the endpoints. What it hijacks it has to end itself. Nil: no page.
	Page func(metrics http.Handler) http.Handler
	// LogDropped, when set, is how many lines of the log were lost since the start.
	LogDropped func() uint64
	// CertificateChanged, when set, is called with the fingerprint of the certificate
	// that signs a project's tokens from now on, each time that it changes. It is
	// called while files are read, and must not block.
	CertificateChanged func(appID, fingerprint string)
}

// check returns what is wrong with the settings that no part checks.
func (c *Config) check() error {
	switch {
	case c.DrainWindow < 0:
		return errors.New("drain-window: want 0 or more")
	case c.IdleTimeout < time.Second:
		return errors.New("idle-timeout: want 1s or more")
	case c.MaxSessions < 0:
		return errors.New("max-sessions: want 0 (unlimited) or more")
	}
	return nil
}
