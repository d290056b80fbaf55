package credential

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Keys are those of one project; at least one of some kind. The errors about them
// have the names of the flags.
type Keys struct {
	// Secrets are for HS256, HS384 and HS512: at least 32 bytes each, and two at
	// most, so that one can be changed.
	Secrets []string
	// PublicKeyPEMs are texts with one or more public keys in PEM, eight in all:
	// RSA, EC or Ed25519.
	PublicKeyPEMs []string
	// JWKSURL is where a key set is; https, or http on this machine.
	JWKSURL string
}

// Project is one Agora project and who speaks for it.
type Project struct {
	// App is its App ID.
	App  string
	Keys Keys
	// Audience has to be among a credential's aud. Empty: any will do, or none.
	Audience string
	// Issuer has to be a credential's iss. Empty: iss is not looked at.
	Issuer string
}

// Config is what a Verifier needs. Projects, Logger and Registerer are required.
type Config struct {
	Projects []Project
	// Leeway is how far clocks may be apart. Zero means 30 s.
	Leeway time.Duration
	// JWKSRefresh is the time between fetches of a key set, at least 1 s. Zero
	// means 10 min.
	JWKSRefresh time.Duration
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
	// HTTPClient fetches key sets; it follows no redirects, whatever it says. Nil
	// means one of the Verifier's own, which honours the proxy settings of the
	// environment.
	HTTPClient *http.Client
}

// complete checks c and fills in its defaults.
func (c *Config) complete() error {
	switch {
	case c.Logger == nil || c.Registerer == nil:
		return errors.New("credential: Logger and Registerer are required")
	case len(c.Projects) == 0:
		return errors.New("credential: want at least one project")
	case c.Leeway < 0:
		return fmt.Errorf("credential: Leeway: want 0 (the default) or more; have %s", c.Leeway)
	case c.JWKSRefresh != 0 && c.JWKSRefresh < time.Second:
		return fmt.Errorf("credential: JWKSRefresh: want 0 (the default) or at least 1s; have %s", c.JWKSRefresh)
	}
	if c.Leeway == 0 {
		c.Leeway = 30 * time.Second
	}
	if c.JWKSRefresh == 0 {
		c.JWKSRefresh = 10 * time.Minute
	}
	return nil
}
