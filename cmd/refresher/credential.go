package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/session"
)

type grantCommand struct {
	JWTSecret     string        `name:"jwt-secret" env:"REFRESHER_JWT_SECRET" placeholder:"SECRET" help:"Signs it, by HS256; 32 bytes or more, as the service has it. Better given by environment: flags show in process lists."`
	JWTSecretFile string        `name:"jwt-secret-file" type:"existingfile" env:"REFRESHER_JWT_SECRET_FILE" placeholder:"FILE" help:"File with it."`
	Subject       string        `placeholder:"NAME" help:"Whom it is for, as logs and the list of sessions name them."`
	TTL           time.Duration `name:"ttl" default:"1h" help:"How long it is good for joining; calls may go on longer, see --until."`
	Channels      []string      `placeholder:"NAME" help:"RTC channels; * at the end of a name stands for any rest, here and below."`
	UIDs          []string      `name:"uids" placeholder:"UID" help:"RTC uids."`
	Accounts      []string      `placeholder:"NAME" help:"RTC user accounts."`
	Roles         []string      `placeholder:"ROLE" enum:"publisher,subscriber" help:"publisher, subscriber or both. Default: subscriber, if there are channels."`
	RTMUsers      []string      `name:"rtm-users" placeholder:"USER" help:"RTM user ids."`
	ChatUsers     []string      `placeholder:"USER" help:"Chat user ids."`
	MaxTTL        time.Duration `name:"max-ttl" help:"Longest token lifetime; 0 is what the service allows."`
	Format        string        `name:"token-format" enum:",007,006,007-single" default:"" placeholder:"FORMAT" help:"Format of its holder's tokens where the request names none: 007, 006 for old SDKs, or 007-single for one token that opens RTC and RTM. Default: the service's."`
	Until         string        `placeholder:"WHEN" help:"Moment that no token outlives, such as 2030-01-02T15:04:05Z, or a span from now, such as 8h."`
	Admin         bool          `help:"Let it see and change the sessions of the project."`
	Audience      string        `name:"jwt-audience" env:"REFRESHER_JWT_AUDIENCE" placeholder:"NAME" help:"Whom it is meant for, where the service has --jwt-audience."`
	Issuer        string        `name:"jwt-issuer" env:"REFRESHER_JWT_ISSUER" placeholder:"NAME" help:"Who it says has made it, where the service has --jwt-issuer."`
	App           string        `name:"app-id" env:"AGORA_APP_ID,APP_ID" placeholder:"HEX" help:"App ID of the project; needed where the service has several."`
}

// Run prints a credential.
func (c *grantCommand) Run() error {
	if err := resolveSecrets(flagged("--jwt-secret", &c.JWTSecret, c.JWTSecretFile)); err != nil {
		return err
	}
	if c.JWTSecret == "" {
		return errors.New("--jwt-secret is missing; want the one that the service has")
	}
	caller, err := c.caller(time.Now())
	if err != nil {
		return err
	}
	text, err := credential.Grant(credential.GrantConfig{
		Secret: c.JWTSecret, Caller: caller, Audience: c.Audience, Issuer: c.Issuer, TTL: c.TTL,
	})
	if err != nil {
		return inFlags(err)
	}
	fmt.Println(text)
	return nil
}

// flagOfClaim maps each claim that credential.Grant can refuse to the flag that sets it.
var flagOfClaim = map[string]string{
	"sub": "--subject", "grants.rtc.channels": "--channels", "grants.rtc.uids": "--uids", "grants.rtc.accounts": "--accounts",
	"grants.rtm.users": "--rtm-users", "grants.chat.users": "--chat-users", "grants.maxTtl": "--max-ttl", "grants.until": "--until",
}

// inFlags replaces the name of a claim at the beginning of an error by the name of its flag.
func inFlags(err error) error {
	if claim, rest, ok := strings.Cut(err.Error(), ": "); ok && flagOfClaim[claim] != "" {
		return errors.New(flagOfClaim[claim] + ": " + rest)
	}
	return err
}

// caller returns the identity and the grants to write into the credential.
func (c *grantCommand) caller(now time.Time) (session.Caller, error) {
	caller := session.Caller{App: c.App, Subject: c.Subject, Admin: c.Admin, Grant: session.Grant{
		Channels: c.Channels, UIDs: c.UIDs, Accounts: c.Accounts,
		RTMUsers: c.RTMUsers, Chat: c.ChatUsers, MaxTTL: c.MaxTTL,
	}}
	if c.Format != "" {
		format := formatOf(c.Format)
		caller.Grant.Format = &format
	}
	roles := c.Roles
	if len(roles) == 0 && len(c.Channels) > 0 {
		roles = []string{session.Subscriber.String()}
	}
	for _, word := range roles {
		var r session.Role
		if err := r.UnmarshalText([]byte(word)); err != nil {
			return caller, fmt.Errorf("--roles: want publisher or subscriber, have %q", word)
		}
		caller.Grant.Roles = append(caller.Grant.Roles, r)
	}
	var err error
	caller.Grant.Until, err = until(c.Until, now)
	return caller, err
}

// until parses a time, or a duration from now; it returns 0 for an empty text.
func until(text string, now time.Time) (session.UnixSec, error) {
	if text == "" {
		return 0, nil
	}
	if span, err := time.ParseDuration(text); err == nil && span > 0 {
		return session.SecOf(now.Add(span)), nil
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil {
		return 0, fmt.Errorf("--until: want a moment such as 2030-01-02T15:04:05Z, or a span from now such as 8h; have %q", text)
	}
	return session.SecOf(at), nil
}
