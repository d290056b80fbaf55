package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/build"
	"refresher/web/demo"
	"refresher/web/demo/edge"
)

type demoCommand struct {
	Listen   address       `env:"REFRESHER_LISTEN,PORT,SERVER_PORT" default:"127.0.0.1:8080" help:"Address of the public port. Without --auth=jwt it must be a loopback address."`
	TokenTTL time.Duration `name:"token-ttl" env:"REFRESHER_TOKEN_TTL" default:"30s" help:"Lifetime of tokens; short, so that renewals come soon."`
	StandIn  bool          `env:"REFRESHER_STAND_IN" help:"Use the stand-in for Agora's edge even if --app-id is set. Without this flag, the page with an --app-id joins a call at Agora."`
	Grace    time.Duration `name:"certificate-grace" env:"REFRESHER_CERTIFICATE_GRACE" default:"15s" help:"How long the stand-in still accepts the old App Certificate after the page has replaced it."`
	Auth     string        `enum:"none,jwt" default:"none" help:"none; or jwt, for a page of your own: the service checks credentials, and serves the stand-in without the demo's page."`
	settings `embed:""`

	keySettings `embed:""`
}

// Run serves the demo until it receives a signal.
func (c *demoCommand) Run(from *sources) (err error) {
	stop := onSignals()
	defer stop.release()
	// SIGHUP means that the terminal was closed. The demo stops then, so that it removes its temporary files.
	ctx, release := signal.NotifyContext(stop.first, syscall.SIGHUP)
	defer release()
	if strings.HasPrefix(string(c.Listen), ":") { // a port without a host would mean all interfaces, but the demo is for this machine only
		c.Listen = "127.0.0.1" + c.Listen
	}
	if strings.HasPrefix(string(c.Listen), "unix:") {
		return errors.New("--listen: browsers cannot connect to a Unix socket; want host:port")
	}
	if c.Grace < time.Second {
		return errors.New("--certificate-grace: want 1s or more")
	}
	if err := c.resolve(flagName); err != nil {
		return err
	}
	if err := resolveSecrets(c.secrets()...); err != nil {
		return err
	}
	signer := c.makeUp()
	if signer != nil {
		if err := signer.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, signer.close()) }()
		c.AppCertificateFile = signer.file()
	}
	if err := c.require(flagName); err != nil {
		return err
	}
	log := c.openLog()
	defer log.Close()
	from.warnUnknown(log.Logger)
	page, standIn, err := c.page(signer, log.Logger)
	if err != nil {
		return err
	}
	if standIn != nil {
		defer standIn.Close()
	}
	defer page.Close()

	config := c.config(c.Listen, c.TokenTTL)
	if err := c.setAuth(&config); err != nil {
		return err
	}
	config.Page = page.Handler
	config.DrainWindow = min(config.DrainWindow, time.Second)
	config.Policy.CertificateSpread = min(config.Policy.CertificateSpread, c.Grace/5) // sessions must have new tokens before the stand-in for Agora's edge refuses the old certificate
	var reloads <-chan os.Signal
	if signer != nil {
		config.CertificateChanged, reloads = signer.changed, signer.reloads
	}
	config.LogDropped = log.Dropped
	a, err := app.New(config, log.Logger)
	if err != nil {
		return err
	}
	c.greet(a, signer != nil, standIn != nil)
	return a.Run(ctx, stop.second, reloads)
}

func (c *demoCommand) setAuth(config *app.Config) (err error) {
	config.Auth = c.Auth
	if c.Auth == "none" {
		return nil
	}
	p := &config.Projects[0]
	p.KeyFiles, p.Audience, p.Issuer = c.files(), c.JWTAudience, c.JWTIssuer
	p.ReadKeys = func() (credential.Keys, error) { return c.keySettings.keys(flagName) }
	p.Keys, err = p.ReadKeys()
	return err
}

// makeUp sets a random App ID and certificate if none are configured. It returns the signer that can replace
// that certificate, or nil if the credentials are the user's own.
func (c *demoCommand) makeUp() *signer {
	if c.AppID != "" || c.AppCertificate != "" {
		return nil
	}
	c.AppID, c.AppCertificate = randomID(), randomID()
	if c.SessionSecret == "" {
		c.SessionSecret = randomID() // without its own value, the session secret would be derived from the certificate, and a rotation of the certificate would invalidate all resume keys
	}
	return newSigner(c.AppCertificate)
}

// agoraWarning is how long before the expiry of a token Agora warns the client.
const agoraWarning = 30 * time.Second

// ownPage reports whether the user has a web page of their own, so that the demo serves none.
func (c *demoCommand) ownPage() bool { return c.Auth == "jwt" }

// page returns the demo page, and the stand-in for Agora's edge, through which the calls run. The stand-in is nil if
// the calls run through Agora itself. The signer is nil unless the App Certificate was generated.
func (c *demoCommand) page(signer *signer, logger *slog.Logger) (page *demo.Demo, standIn *edge.Edge, err error) {
	ttl := max(c.TokenTTL, time.Second) // the page needs a valid lifetime now; if the configured one is too short for the service, app.New refuses it later
	config := demo.Config{
		AppID: c.AppID, Version: build.Info().Version, WarnBefore: agoraWarning,
		TTL: ttl, MinTTL: min(c.MinTTL, ttl), MaxTTL: max(c.MaxTTL, ttl),
		Real: signer == nil && !c.StandIn && !c.ownPage(), WithoutPage: c.ownPage(), Logger: logger.With("component", "demo"),
	}
	if !config.Real {
		// Agora warns the client 30 s before a token expires. A token of the demo may live for less than 30 s. The
		// client would then get the warning as soon as it gets the token.
		config.WarnBefore = max(min(agoraWarning, ttl/5).Truncate(time.Second), time.Second)
		certificates := append(c.certificates(), "")
		standIn, err = edge.New(edge.Config{
			AppID: c.AppID, Certificate: certificates[0], SecondaryCertificate: certificates[1], WarnBefore: config.WarnBefore,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("stand-in: %w", err)
		}
		config.Edge = standIn
	}
	if signer != nil {
		config.Certificate, config.Sign, config.Grace = c.AppCertificate, signer.sign, c.Grace
	}
	page, err = demo.New(config)
	return page, standIn, err
}

// greet prints the addresses of the demo, and what the user can try.
func (c *demoCommand) greet(a *app.App, madeUp, standIn bool) {
	tls := ""
	if c.TLSCertFile != "" {
		tls = "s"
	}
	held := "made up for this run. The page's call is held by a stand-in for Agora's edge, on this machine."
	switch {
	case !standIn:
		held = "of your Agora project. The page's call is held by Agora; --stand-in keeps it on this machine."
	case !madeUp:
		held = "of your Agora project. The page's call is held by a stand-in for Agora's edge, on this machine."
	}
	at := a.Addr().String() + strings.TrimSuffix(c.BasePath, "/")
	if c.ownPage() {
		fmt.Fprintf(os.Stdout, `refresher demo: tokens live %s here, and are renewed before that.

  for your page   http%s://%s   from %s
  metrics         http://%s/metrics

App ID %s. Credentials are checked. A stand-in for Agora's edge holds the calls.
Stop with Ctrl-C.

`, c.TokenTTL, tls, at, cmp.Or(strings.Join(c.AllowedOrigins, ", "), "this origin alone; see --allowed-origins"), a.OpsAddr(), c.AppID)
		return
	}
	fmt.Fprintf(os.Stdout, `refresher demo: tokens live %[1]s here, and are renewed before that.

  open       http%[2]s://%[3]s/
  or run     refresher call --url ws%[2]s://%[3]s/v1/ws
             (go run ./cmd/refresher call, in a checkout)
  metrics    http://%[4]s/metrics
  classic    curl http%[2]s://%[3]s/rtc/demo/publisher/uid/1/

App ID %[5]s, %[6]s
Credentials are not checked; --auth=jwt checks them.
Stop with Ctrl-C.

`, c.TokenTTL, tls, at, a.OpsAddr(), c.AppID, held)
}

// randomID returns 32 random hex digits, the form of an App ID and of an App Certificate.
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
