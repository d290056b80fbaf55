package main

import (
	"time"

	"refresher/internal/app"
)

type serveCommand struct {
	Listen   address       `env:"REFRESHER_LISTEN,PORT" default:":8080" help:"Address of the public port, or just a port."`
	TokenTTL time.Duration `name:"token-ttl" env:"REFRESHER_TOKEN_TTL" default:"1h" help:"Lifetime of tokens whose client asks for none."`
	settings `embed:""`

	Auth     string `env:"REFRESHER_AUTH" default:"jwt" help:"How callers prove who they are. This version has none only, which lets anybody have any token."`
	Insecure bool   `env:"REFRESHER_INSECURE" help:"Accept --auth=none on an address that others can reach."`
}

// Run serves until a signal.
func (c *serveCommand) Run() error {
	stop := onSignals()
	defer stop.release()
	if err := c.resolve(); err != nil {
		return err
	}
	if err := c.require(); err != nil {
		return err
	}
	config := c.config(c.Listen, c.TokenTTL)
	config.Auth, config.Insecure = c.Auth, c.Insecure
	a, err := app.New(config, c.logger())
	if err != nil {
		return err
	}
	return a.Run(stop.first, stop.second)
}
