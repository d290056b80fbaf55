package app_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestDrainOnASignal(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.DrainWindow = 100 * time.Millisecond })
	s := n.Dial() // the public port opens only when the node is ready
	if response, text := n.Ops("/readyz"); response.StatusCode != http.StatusOK || text != "ready\n" {
		t.Errorf("readyz: %d %q", response.StatusCode, text)
	}
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	go n.Stop()
	if m := s.Expect(protocol.TypeReconnect); m.Reason != "drain" {
		t.Errorf("told %+v", m)
	}
	if response, _ := n.Ops("/readyz"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining: %d", response.StatusCode)
	}
	s.Closed(protocol.CloseDrain)
	n.Stop()

	// The next process restores the session from its resume key alone.
	next := apptest.StartNode(t, nil).Dial()
	next.Send(apptest.ResumeText(joined, 1))
	if m := next.Expect(protocol.TypeJoined); m.Session != joined.Session || m.Seq != 2 {
		t.Errorf("resumed %+v", m)
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, change := range map[string]func(*app.Config){
		"jwt-secret: is": func(c *app.Config) { c.Auth = "jwt" },
		"auth: want":     func(c *app.Config) { c.Auth = "ldap" },
		"app-id: ":       func(c *app.Config) { c.Projects = append(c.Projects, c.Projects[0]) },
		"auth: none does": func(c *app.Config) {
			other := c.Projects[0]
			other.AppID, c.SessionSecret = strings.Repeat("0", 32), "seals the keys of both projects"
			c.Projects = append(c.Projects, other)
		},
		"tls-cert-file, ":    func(c *app.Config) { c.TLSCertFile = "cert.pem" },
		"proxy-protocol: ":   func(c *app.Config) { c.ProxyProtocol = true },
		"trusted-proxies: ":  func(c *app.Config) { c.TrustedProxies = []string{"everybody"} },
		"address-rate: ":     func(c *app.Config) { c.AddressRate = -1 },
		"subject-rate: ":     func(c *app.Config) { c.SubjectRate = math.Inf(1) },
		"authorize-url: ":    func(c *app.Config) { c.Authorize.URL, c.Authorize.Secret = "nowhere", "a secret of many more bytes" },
		"authorize-secret: ": func(c *app.Config) { c.Authorize.URL = "http://127.0.0.1:1" },
		"authorize-previous-secret: want": func(c *app.Config) {
			c.Authorize.URL, c.Authorize.Secret, c.Authorize.PreviousSecret = "http://127.0.0.1:1", "a secret of many more bytes", "short"
		},
		"authorize-previous-secret: set": func(c *app.Config) { c.Authorize.PreviousSecret = "a secret of many more bytes" },
		"auth: none on":                  func(c *app.Config) { c.Listen = "0.0.0.0:0" },
		"auth: none on :":                func(c *app.Config) { c.Listen = ":0" },
		"credential-in-path: ":           func(c *app.Config) { c.CredentialInPath = true },
		"base-path: ":                    func(c *app.Config) { c.BasePath = "refresher" },
		"base-path: want":                func(c *app.Config) { c.BasePath = "/a/../b" },
		"base-path: want a":              func(c *app.Config) { c.BasePath = "/a//b" },
		"base-path: want a ":             func(c *app.Config) { c.BasePath = "/a?b" },
		"listen: ":                       func(c *app.Config) { c.Listen = "nonsense" },
		"ops-listen: ":                   func(c *app.Config) { c.OpsListen = "256.0.0.1:0" },
		"app-id: 1 ":                     func(c *app.Config) { c.Projects[0].AppID = "x" },
		"app-certificate: ":              func(c *app.Config) { c.Projects[0].Certificates[0] = "x" },
		"token-ttl: ":                    func(c *app.Config) { c.Policy.TTL = time.Second },
		"session-secret: ":               func(c *app.Config) { c.SessionSecret = "short" },
		"heartbeat: ":                    func(c *app.Config) { c.Heartbeat = 0 },
		"idle-timeout: ":                 func(c *app.Config) { c.IdleTimeout = 0 },
		"drain-window: ":                 func(c *app.Config) { c.DrainWindow = -1 },
		"max-sessions: ":                 func(c *app.Config) { c.MaxSessions = -1 },
		"join-rate: ":                    func(c *app.Config) { c.JoinRate = math.NaN() },
		"allowed-origins: ":              func(c *app.Config) { c.AllowedOrigins = []string{"ftp://x"} },
	} {
		c := apptest.Config()
		change(&c)
		a, err := app.New(c, apptest.Quiet)
		if err == nil {
			t.Errorf("%s accepted", want)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = a.Run(ctx, ctx, nil)
			continue
		}
		if !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), apptest.Certificate) {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := apptest.Config()
	c.Listen, c.Insecure = "0.0.0.0:0", true
	a, err := app.New(c, apptest.Quiet)
	if err != nil {
		t.Fatalf("open to the network, with --insecure: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.Run(ctx, ctx, nil)
}
