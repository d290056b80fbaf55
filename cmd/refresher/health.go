package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthCommand is for probes that can run a command but not send a request, such as a container's
// HEALTHCHECK: the image contains only this program, and no curl.
type healthCommand struct {
	OpsListen address       `env:"REFRESHER_OPS_LISTEN" default:"127.0.0.1:9090" help:"Address of the operations port: the --ops-listen of serve."`
	Ready     bool          `help:"Check whether the node accepts calls (/readyz), instead of whether it works (/healthz). A node that drains works, but accepts no calls."`
	Timeout   time.Duration `default:"2s" help:"How long to wait for the answer."`
}

const maxHealth = 1 << 10

// Run probes the service and prints the answer. If the service is unhealthy, Run returns an error, so that
// the exit code is not 0.
func (c *healthCommand) Run() error {
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	target, err := local(string(c.OpsListen))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+path, nil)
	if err != nil {
		return fmt.Errorf("ops-listen: %w", err)
	}
	// The transport ignores the proxies of environment variables, since the request stays on this machine.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the service does not answer: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("read the service's answer: %w", err)
	}
	answer := strings.TrimSpace(string(text))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d: %s", path, response.StatusCode, answer)
	}
	_, err = fmt.Println(answer)
	return err
}

// local returns the loopback address for a service that listens on all interfaces, and any other address unchanged.
func local(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("ops-listen: want host:port, such as 127.0.0.1:9090; have %q", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip.Equal(net.IPv4zero) {
		host = "127.0.0.1"
	} else if ip.Equal(net.IPv6unspecified) {
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
