package generator

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bounds of what may be asked for: a generator that can be told to open
// everything at once, for ever, is a weapon.
const (
	MaxCalls    = 200_000
	maxURLs     = 64
	maxRate     = 20_000 // a second, of joins and of drops
	maxDuration = 24 * time.Hour
	maxAckDelay = time.Minute
	maxTTL      = 24 * time.Hour
	minTTL      = 3 * time.Second
	maxChannel  = 64 // bytes
)

// Services that a call may have tokens for.
const (
	RTC  = "rtc"
	RTM  = "rtm"
	Chat = "chat"
)

// Config is what a Generator needs. The names in its errors are those of the
// flags.
type Config struct {
	// URLs are the WebSockets of the service's nodes, such as
	// ws://127.0.0.1:8080/v1/ws. Each call begins at one of them in turn, and
	// goes to any when its connection is lost.
	URLs []string
	// Remote allows targets on other machines.
	Remote bool
	// Calls is how many there are to be, JoinRate how many begin in a second.
	Calls    int
	JoinRate float64
	// Duration is how long it lasts, from the first join; the calls leave then.
	Duration time.Duration
	// TTL is the lifetime of tokens to ask for, in whole seconds; zero: the
	// service's.
	TTL time.Duration
	// Services are those that each call has tokens for. Nil means RTC and RTM.
	Services []string
	// Channels names the calls' channels: * stands for a call's number.
	Channels string
	// Credential is what call n shows when it joins. Nil: nothing.
	Credential func(n int) (string, error)
	// AckDelay is how long an SDK takes to accept tokens.
	AckDelay time.Duration
	// DropRate is how many connections are broken in a second, at random.
	DropRate float64
	// Tick is told what has happened, every second. Nil: nobody is.
	Tick func(Report)

	// dial replaces the network, in tests.
	dial func(n int, target *url.URL) (net.Conn, error)
}

// check refuses settings that cannot work, and reads the URLs.
func (c *Config) check() ([]*url.URL, error) {
	switch {
	case c.Calls < 1 || c.Calls > MaxCalls:
		return nil, fmt.Errorf("calls: want 1 to %d, have %d", MaxCalls, c.Calls)
	case !(c.JoinRate > 0 && c.JoinRate <= maxRate): // not NaN either
		return nil, fmt.Errorf("join-rate: want more than 0, and at most %d a second; have %v", maxRate, c.JoinRate)
	case !(c.DropRate >= 0 && c.DropRate <= maxRate) || math.IsNaN(c.DropRate):
		return nil, fmt.Errorf("drop-rate: want 0 to %d a second; have %v", maxRate, c.DropRate)
	case c.Duration < time.Second || c.Duration > maxDuration:
		return nil, fmt.Errorf("duration: want 1s to %s; have %s", maxDuration, c.Duration)
	case c.TTL != 0 && (c.TTL < minTTL || c.TTL > maxTTL || c.TTL%time.Second != 0):
		return nil, fmt.Errorf("ttl: want whole seconds, %s to %s, or 0 for the service's; have %s", minTTL, maxTTL, c.TTL)
	case c.AckDelay < 0 || c.AckDelay > maxAckDelay:
		return nil, fmt.Errorf("ack-delay: want 0 to %s; have %s", maxAckDelay, c.AckDelay)
	case c.Channels == "" || len(strings.ReplaceAll(c.Channels, "*", "000000")) > maxChannel:
		return nil, fmt.Errorf("channels: want 1 to %d bytes, with * for the call's number", maxChannel)
	case len(c.URLs) == 0 || len(c.URLs) > maxURLs:
		return nil, fmt.Errorf("url: want 1 to %d; have %d", maxURLs, len(c.URLs))
	}
	if len(c.Services) == 0 {
		c.Services = []string{RTC, RTM}
	}
	for _, s := range c.Services {
		if !slices.Contains([]string{RTC, RTM, Chat}, s) {
			return nil, fmt.Errorf("services: want rtc, rtm or chat; have %q", s)
		}
	}
	targets := make([]*url.URL, len(c.URLs))
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" || u.User != nil {
			return nil, errors.New("url: want ws:// or wss://, a host and a path, such as ws://127.0.0.1:8080/v1/ws")
		}
		if !c.Remote && !loopback(u.Hostname()) {
			return nil, fmt.Errorf("url: %s is not this machine; this is a load generator, and can take a service down: give --remote if it is yours, and meant to bear it", u.Hostname())
		}
		targets[i] = u
	}
	return targets, nil
}

// loopback reports whether a host is this machine by its very name: what a
// resolver says may change.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
