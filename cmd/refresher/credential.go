package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"refresher/client"
	"refresher/internal/access/credential"
	"refresher/internal/session"
)

type grantCommand struct {
	JWTSecret     string        `name:"jwt-secret" env:"REFRESHER_JWT_SECRET" placeholder:"SECRET" help:"Secret that signs the credential by HS256, 32 bytes or more: the --jwt-secret of the service. Give it by the environment, since process lists show flags."`
	JWTSecretFile string        `name:"jwt-secret-file" type:"existingfile" env:"REFRESHER_JWT_SECRET_FILE" placeholder:"FILE" help:"File with --jwt-secret."`
	Subject       string        `placeholder:"NAME" help:"Name of the credential's holder (sub), which logs and the list of sessions show."`
	TTL           time.Duration `name:"ttl" default:"1h" help:"How long the credential can be used to join. Calls may last longer; see --until."`
	Channels      []string      `placeholder:"NAME" help:"RTC channels. In this and the following lists, a * at the end of a name matches any text."`
	UIDs          []string      `name:"uids" placeholder:"UID" help:"RTC uids."`
	Accounts      []string      `placeholder:"NAME" help:"RTC user accounts."`
	Roles         []string      `placeholder:"ROLE" enum:"publisher,subscriber" help:"publisher, subscriber or both. Default: subscriber, if there are channels."`
	RTMUsers      []string      `name:"rtm-users" placeholder:"USER" help:"RTM user ids."`
	ChatUsers     []string      `placeholder:"USER" help:"Chat user ids."`
	MaxTTL        time.Duration `name:"max-ttl" help:"Longest token lifetime; 0 means the service's --max-ttl."`
	Format        string        `name:"token-format" enum:",007,006,007-single" default:"" placeholder:"FORMAT" help:"Token format if the request names none: 007, 006 for old SDKs, or 007-single for one token that opens RTC and RTM. Default: the service's --token-version."`
	Until         string        `placeholder:"WHEN" help:"Time at which the last token expires at the latest, such as 2030-01-02T15:04:05Z, or a duration from now, such as 8h."`
	Admin         bool          `help:"Give the credential the scope admin, which may see and change all sessions of the project."`
	Audience      string        `name:"jwt-audience" env:"REFRESHER_JWT_AUDIENCE" placeholder:"NAME" help:"Audience (aud): the --jwt-audience of the service, if it has one."`
	Issuer        string        `name:"jwt-issuer" env:"REFRESHER_JWT_ISSUER" placeholder:"NAME" help:"Issuer (iss): the --jwt-issuer of the service, if it has one."`
	App           string        `name:"app-id" env:"AGORA_APP_ID,APP_ID" placeholder:"HEX" help:"App ID of the project; required if the service has several projects."`
}

// Run prints a credential.
func (c *grantCommand) Run() error {
	if err := resolveSecrets(flagged("--jwt-secret", &c.JWTSecret, c.JWTSecretFile)); err != nil {
		return err
	}
	if c.JWTSecret == "" {
		return errors.New("--jwt-secret is missing; want the secret of the service")
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

// flagOf maps claims of a credential, and fields of an identity, to the flags that set them.
var flagOf = map[string]string{
	"rtc.channel": "--channel", "rtc.uid": "--uid", "rtc.account": "--account", "rtm.userId": "--rtm-user",
	"chat.userId": "--chat-user", "ttl": "--ttl",
	"sub": "--subject", "grants.rtc.channels": "--channels", "grants.rtc.uids": "--uids", "grants.rtc.accounts": "--accounts",
	"grants.rtm.users": "--rtm-users", "grants.chat.users": "--chat-users", "grants.maxTtl": "--max-ttl", "grants.until": "--until",
}

// inFlags replaces the name of a claim or field at the beginning of an error by the name of its flag.
func inFlags(err error) error {
	if refused, ok := errors.AsType[*session.Error](err); ok {
		return errors.New(refused.Rename(flagOf).Message)
	}
	if denied, ok := errors.AsType[*client.DeniedError](err); ok {
		renamed := *denied
		renamed.Message = (&session.Error{Message: denied.Message}).Rename(flagOf).Message
		return &renamed
	}
	if field, rest, ok := strings.Cut(err.Error(), ": "); ok && flagOf[field] != "" {
		return errors.New(flagOf[field] + ": " + rest)
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
		return 0, fmt.Errorf("--until: want a time such as 2030-01-02T15:04:05Z, or a duration from now such as 8h; have %q", text)
	}
	return session.SecOf(at), nil
}
