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

// The settings are limited, so that the generator cannot be misused for an attack.
const (
	MaxCalls    = 200_000
	maxURLs     = 64
	maxRate     = 20_000 // joins, or drops, in a second
	maxDuration = 24 * time.Hour
	maxAckDelay = time.Minute
	maxTTL      = 24 * time.Hour
	minTTL      = 3 * time.Second
	maxChannel  = 64 // bytes
)

// Names of the services for which a call can have tokens.
const (
	RTC  = "rtc"
	RTM  = "rtm"
	Chat = "chat"
)

// Config has the settings of a Generator. Errors about a setting name its flag.
type Config struct {
	// URLs are the WebSockets of the nodes, such as ws://127.0.0.1:8080/v1/ws. New calls use them in turn; a call that
	// reconnects uses a random one.
	URLs []string
	// Remote allows targets on other machines.
	Remote bool
	// Calls is the number of calls. JoinRate of them begin in each second.
	Calls    int
	JoinRate float64
	// Duration is the time from the first join until the calls leave.
	Duration time.Duration
	// TTL is the requested lifetime of tokens, in whole seconds; 0 means the default of the service.
	TTL time.Duration
	// Services are the services for which each call gets tokens. Nil means RTC and RTM.
	Services []string
	// Channels is the name of a call's channel, in which * stands for the number of the call.
	Channels string
	// Credential returns the credential of call n. If it is nil, the calls send none.
	Credential func(n int) (string, error)
	// AckDelay is how long the simulated SDK takes until it has accepted tokens.
	AckDelay time.Duration
	// DropRate is how many connections, chosen at random, are cut in a second.
	DropRate float64
	// Tick is called with a report every second, unless it is nil.
	Tick func(Report)

	// dial replaces the network, in tests.
	dial func(n int, target *url.URL) (net.Conn, error)
}

// check returns the parsed URLs, or an error about a setting that cannot work.
func (c *Config) check() ([]*url.URL, error) {
	switch {
	case c.Calls < 1 || c.Calls > MaxCalls:
		return nil, fmt.Errorf("calls: want 1 to %d, have %d", MaxCalls, c.Calls)
	case !(c.JoinRate > 0 && c.JoinRate <= maxRate): // unlike a comparison with <= 0, this also refuses NaN
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
		return nil, fmt.Errorf("channels: want 1 to %d bytes, where * is replaced by the call's number", maxChannel)
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
			return nil, fmt.Errorf("url: %s is not this machine; this load generator can overload a service; add --remote only if the service is yours and ready for the load", u.Hostname())
		}
		targets[i] = u
	}
	return targets, nil
}

// loopback reports whether a host is "localhost" or a loopback address. It resolves no names, since the address of a
// name may change.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
