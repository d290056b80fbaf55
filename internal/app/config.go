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

// Config has all settings of the service. An error about a setting names the setting's flag.
type Config struct {
	// Listen is the address of the public port: host:port, or unix:PATH for a Unix socket. The file of
	// the Unix socket gets SocketMode.
	Listen     string
	SocketMode fs.FileMode
	OpsListen  string // address of the operations port
	// BasePath is the path prefix of everything on the public port, such as "/refresher". Empty
	// or "/" means no prefix.
	BasePath string
	// IdleTimeout is how long the public port keeps an idle HTTP connection open. It should be
	// longer than the load balancer's idle timeout: otherwise the balancer may send a request on
	// a connection that the node is closing.
	IdleTimeout time.Duration

	project.Settings

	Policy         session.Policy
	Heartbeat      time.Duration // the longest time between two pings of a client
	DrainWindow    time.Duration
	MaxSessions    int
	JoinRate       float64 // maximum number of joins and resumes per second; 0 means unlimited
	AllowedOrigins []string

	// Redis stores the sessions for several nodes. Without a URL, sessions are stored in the
	// memory of this process.
	Redis redis.Config
	// Events and Authorize configure your back end's webhooks for events and for approvals.
	// Without a URL a webhook is off.
	Events, Authorize hook.Config

	access.Rules

	// TLSCertFile and TLSKeyFile make the public port use TLS. If they are empty, the port uses plain
	// HTTP, for example behind a proxy.
	TLSCertFile, TLSKeyFile string
	// Page, if not nil, is called once and returns the handler for all paths of the public port
	// that are not endpoints. The argument `metrics` serves the same text as /metrics on the operations port.
	// Requests reach the handler only after the same checks of Host and Origin as for the endpoints. The handler must
	// close hijacked connections itself.
	Page func(metrics http.Handler) http.Handler
	// LogDropped, if not nil, returns how many log lines were lost since the process started.
	LogDropped func() uint64
	// CertificateChanged, if not nil, is called with the fingerprint of the App Certificate when another
	// certificate begins to sign a project's tokens. It is called while files are read, and must not block.
	CertificateChanged func(appID, fingerprint string)
}

// check returns an error for settings that no other package checks.
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
