package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"refresher/internal/app"
)

type demoCommand struct {
	Listen   address       `env:"REFRESHER_LISTEN,PORT" default:"127.0.0.1:8080" help:"Address of the public port. Credentials are off, so only a loopback one is taken."`
	TokenTTL time.Duration `name:"token-ttl" env:"REFRESHER_TOKEN_TTL" default:"30s" help:"Lifetime of tokens: short, so that renewals are seen."`
	settings `embed:""`
}

// Run serves until a signal.
func (c *demoCommand) Run() error {
	stop := onSignals()
	defer stop.release()
	if strings.HasPrefix(string(c.Listen), ":") { // a bare port, perhaps another service's
		c.Listen = "127.0.0.1" + c.Listen
	}
	if err := c.resolve(); err != nil {
		return err
	}
	if c.AppID == "" && c.AppCertificate == "" {
		c.AppID, c.AppCertificate = randomID(), randomID()
	}
	if err := c.require(); err != nil {
		return err
	}
	config := c.config(c.Listen, c.TokenTTL)
	config.Auth, config.Page = "none", true
	config.DrainWindow = min(config.DrainWindow, time.Second)
	a, err := app.New(config, c.logger())
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, `refresher demo: tokens live %s here, and are renewed before that.

  open       http://%s/
  or run     refresher call --url ws://%s/v1/ws
             (go run ./cmd/refresher call, in a checkout)
  metrics    http://%s/metrics
  classic    curl http://%s/rtc/demo/publisher/uid/1/

App ID %s, made up for this run unless you set one. Stop with Ctrl-C.

`, c.TokenTTL, a.Addr(), a.Addr(), a.OpsAddr(), a.Addr(), c.AppID)
	return a.Run(stop.first, stop.second, nil)
}

// randomID has the form of an App ID or certificate.
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
