package main

import (
	"time"

	"refresher/internal/app"
)

type serveCommand struct {
	Listen   address       `env:"REFRESHER_LISTEN,PORT" default:":8080" help:"Address of the public port, or just a port."`
	TokenTTL time.Duration `name:"token-ttl" env:"REFRESHER_TOKEN_TTL" default:"1h" help:"Lifetime of tokens whose client asks for none."`
	settings `embed:""`

	RedisURL    string `name:"redis-url" env:"REFRESHER_REDIS_URL,REDIS_URL" placeholder:"URL" help:"Where several nodes share their sessions: redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://. Default: in this process."`
	RedisCAFile string `name:"redis-ca-file" type:"existingfile" env:"REFRESHER_REDIS_CA_FILE" placeholder:"FILE" help:"Certificates that a TLS Redis must be signed by. Default: the system's."`
	RedisPrefix string `env:"REFRESHER_REDIS_PREFIX" default:"refresher" help:"What all keys in Redis begin with; services that share a Redis need different ones."`

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
	config.RedisURL, config.RedisCAFile, config.RedisPrefix = c.RedisURL, c.RedisCAFile, c.RedisPrefix
	a, err := app.New(config, c.logger())
	if err != nil {
		return err
	}
	return a.Run(stop.first, stop.second)
}
