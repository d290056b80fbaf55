package app

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"refresher/internal/origin"
	"refresher/internal/session"
)

// Config is every setting of the service. The names in its errors are those of
// the flags.
type Config struct {
	Listen    string // address of the public port
	OpsListen string // address of the operations port

	AppID          string
	AppCertificate string
	TokenVersion   string

	Policy session.Policy
	// SessionSecret seals resume keys; empty derives it from the App
	// Certificate. Keys sealed under PreviousSessionSecret are still opened.
	SessionSecret, PreviousSessionSecret string
	Heartbeat                            time.Duration
	DrainWindow                          time.Duration
	MaxSessions                          int
	JoinRate                             float64 // joins a second, 0 = unlimited
	AllowedOrigins                       []string

	// RedisURL is where the sessions are kept that several nodes share; empty
	// keeps them in this process. RedisCAFile and RedisPrefix as in
	// redis.Config.
	RedisURL, RedisCAFile, RedisPrefix string
	// EventsURL is told of what happens to sessions, in requests that are
	// signed with EventsSecret; empty: nobody is.
	EventsURL, EventsSecret string

	// Auth is how callers prove who they are; "none" lets anybody have any
	// token, and is refused on an address that others can reach, unless
	// Insecure.
	Auth     string
	Insecure bool
	// Page turns the demo page on.
	Page bool
}

// check refuses settings that are wrong together or on their own. What a part
// checks by itself is left to it.
func (c *Config) check() error {
	if c.Auth != "none" {
		return fmt.Errorf(`auth: %q is not available in this version; only "none" is, which lets anybody have any token: say --auth=none to accept that on a loopback address`, c.Auth)
	}
	loopback, err := isLoopback(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if !loopback && !c.Insecure {
		return fmt.Errorf("auth: none on %s would give anybody on the network any token; listen on 127.0.0.1, or accept it with --insecure", c.Listen)
	}
	if c.DrainWindow < 0 {
		return errors.New("drain-window: want 0 or more")
	}
	if c.MaxSessions < 0 {
		return errors.New("max-sessions: want 0 (unlimited) or more")
	}
	return nil
}

// isLoopback reports whether only this machine can reach address.
func isLoopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("want host:port, such as 127.0.0.1:8080; have %q", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, fmt.Errorf("want a port from 0 to 65535; have %q", port)
	}
	return origin.IsLoopback(host), nil
}
