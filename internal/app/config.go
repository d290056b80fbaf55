package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"time"

	"refresher/internal/listen"
	"refresher/internal/project"
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
	Heartbeat      time.Duration
	DrainWindow    time.Duration
	MaxSessions    int
	JoinRate       float64 // joins a second, 0 = unlimited
	AllowedOrigins []string

	// RedisURL is where the sessions are kept that several nodes share; empty
	// keeps them in this process. The others are as in redis.Config.
	RedisURL, RedisCAFile, RedisCertFile, RedisKeyFile, RedisPrefix string
	// EventsURL receives what happens to sessions, in requests that are signed
	// with EventsSecret, and with EventsPreviousSecret unless that is empty. If
	// EventsURL is empty, no events are sent.
	EventsURL, EventsSecret, EventsPreviousSecret string

	// Auth is how callers prove who they are: "jwt", by credentials that the
	// projects' keys have signed, or "none", which lets anybody have any
	// token, and is refused on an address that others can reach, unless
	// Insecure.
	Auth     string
	Insecure bool
	// CredentialInPath has the classic endpoints take credentials in their paths,
	// too, for apps that cannot send a header.
	CredentialInPath bool
	// AuthorizeURL is asked whether a session may be joined and go on, in
	// requests that are signed as events are and may take
	// AuthorizeTimeout; renewals go on without its word for AuthorizeGrace.
	// Empty: nobody is asked.
	AuthorizeURL, AuthorizeSecret, AuthorizePreviousSecret string
	AuthorizeTimeout, AuthorizeGrace                       time.Duration

	// AddressRate and SubjectRate are how many requests a second a client's
	// address and the holder of a credential may make, 0 = unlimited.
	// TrustedProxies are the networks whose word counts for that address.
	AddressRate, SubjectRate float64
	TrustedProxies           []string
	// ProxyProtocol has connections from TrustedProxies to the public port begin
	// with a PROXY header, which names the client.
	ProxyProtocol bool

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

// basePath is what proxies pass on as it is, and no client resolves: no escapes, no
// empty parts, none that begin with a dot.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

// check refuses settings that are wrong together or on their own. What a part
// checks by itself is left to it.
func (c *Config) check() error {
	if !basePath.MatchString(c.BasePath) {
		return fmt.Errorf(`base-path: want a path such as "/refresher", of letters, digits and -._~; have %q`, c.BasePath)
	}
	local, err := listen.IsLocal(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	switch {
	case c.Auth != "none" && c.Auth != "jwt":
		return fmt.Errorf(`auth: want "jwt" or "none"; have %q`, c.Auth)
	case c.Auth == "none" && len(c.Projects) > 1:
		return errors.New("auth: none does for one project only: credentials say which one is meant")
	case c.Auth == "none" && !local && !c.Insecure:
		return fmt.Errorf("auth: none on %s would give anybody on the network any token; check credentials with --auth=jwt, listen on 127.0.0.1, or accept it with --insecure", c.Listen)
	case c.ProxyProtocol && len(c.TrustedProxies) == 0:
		return errors.New("proxy-protocol: set without trusted-proxies, which say whose header counts")
	case c.Auth == "none" && c.CredentialInPath:
		return errors.New("credential-in-path: set with auth=none, where no credential is looked at")
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		return errors.New("tls-cert-file, tls-key-file: want both or none")
	case c.EventsURL == "" && c.EventsSecret != "":
		return errors.New("events-secret: set without events-url, which says where to")
	case c.EventsURL == "" && c.EventsPreviousSecret != "":
		return errors.New("events-previous-secret: set without events-url, which says where to")
	case c.AuthorizeURL == "" && c.AuthorizeSecret != "":
		return errors.New("authorize-secret: set without authorize-url, which says whom to ask")
	case c.AuthorizeURL == "" && c.AuthorizePreviousSecret != "":
		return errors.New("authorize-previous-secret: set without authorize-url, which says whom to ask")
	case c.AuthorizeTimeout < 0:
		return errors.New("authorize-timeout: want 0 (the default) or more")
	case c.AuthorizeGrace < 0:
		return errors.New("authorize-grace: want 0 or more")
	}
	if c.DrainWindow < 0 {
		return errors.New("drain-window: want 0 or more")
	}
	if c.IdleTimeout < time.Second {
		return errors.New("idle-timeout: want 1s or more")
	}
	if c.MaxSessions < 0 {
		return errors.New("max-sessions: want 0 (unlimited) or more")
	}
	return nil
}
