package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"refresher/internal/agora"
	"refresher/internal/session"
)

type tokenCommand struct {
	Mint    mintCommand    `cmd:"" help:"Mint tokens."`
	Inspect inspectCommand `cmd:"" help:"Show the contents of a token, and whether it is valid."`
	Grant   grantCommand   `cmd:"" help:"Sign a credential, to try things out."`
}

type mintCommand struct {
	credentials `embed:""`
	Channel     string        `help:"RTC channel."`
	UID         uint32        `help:"RTC uid; 0 makes a token for any uid."`
	Account     string        `help:"RTC user account, instead of the uid."`
	Role        string        `enum:"publisher,subscriber" default:"subscriber" help:"publisher or subscriber."`
	RTMUser     string        `name:"rtm-user" placeholder:"USER" help:"RTM user id."`
	ChatUser    string        `placeholder:"USER" help:"Chat user id."`
	TTL         time.Duration `name:"ttl" default:"1h" help:"Lifetime of the tokens."`
	Version     string        `env:"REFRESHER_TOKEN_VERSION" enum:"007,006,007-single" default:"007" help:"Token format: 007, 006 for old SDKs, or 007-single for one token that opens RTC and RTM."`
}

// Run prints a token for each requested service.
func (c *mintCommand) Run() error {
	if err := c.resolve(flagName); err != nil {
		return err
	}
	if err := c.require(flagName); err != nil {
		return err
	}
	minter, err := agora.NewMinter(c.AppID, c.certificates()[0])
	if err != nil {
		return err
	}
	var id session.Identity
	if c.Channel != "" {
		id.RTC = &session.RTC{Channel: c.Channel, UID: c.UID, Account: c.Account}
		if err := id.RTC.Role.UnmarshalText([]byte(c.Role)); err != nil {
			return err
		}
	}
	if c.RTMUser != "" {
		id.RTM = &session.RTM{UserID: c.RTMUser}
	}
	if c.ChatUser != "" {
		id.Chat = &session.Chat{UserID: c.ChatUser}
	}
	if id == (session.Identity{}) {
		return errors.New("nothing to mint; give --channel, --rtm-user or --chat-user")
	}
	now := session.SecOf(time.Now())
	tokens, err := minter.Mint(id, formatOf(c.Version), now, now.Add(c.TTL))
	if err != nil {
		return inFlags(err)
	}
	for _, t := range []struct{ name, token string }{{"rtc", tokens.RTC}, {"rtm", tokens.RTM}, {"chat", tokens.Chat}} {
		if t.token != "" {
			fmt.Printf("%-4s %s\n", t.name, t.token)
		}
	}
	return nil
}

type inspectCommand struct {
	credentials `embed:""`
	Token       string `arg:"" help:"The token; - reads it from standard input."`
	Service     string `enum:",rtc,rtm,chat" default:"" help:"Service for which to check the token: rtc, rtm or chat. Default: rtc with --channel, else the first service of the token."`
	Channel     string `help:"RTC channel for which to check the token. Without it, the signature of a 006 token cannot be verified."`
	User        string `help:"Uid, account or user id for which to check the token. Without it, the signature of a 006 token cannot be verified."`
	Publish     bool   `help:"Check whether the token permits sending audio and video."`
	JSON        bool   `name:"json" help:"Print JSON."`
}

// Run prints the content of a token and its faults. It returns an error if Agora would refuse the token.
func (c *inspectCommand) Run() error {
	if err := c.resolve(flagName); err != nil {
		return err
	}
	text := c.Token
	if text == "-" {
		all, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<16))
		if err != nil {
			return err
		}
		text = string(all)
	}
	use := agora.Use{
		AppID:   c.AppID,
		Holder:  agora.Holder{Channel: c.Channel, User: c.User},
		Publish: c.Publish,
	}
	if c.Service != "" {
		var err error
		if use.Service, err = agora.ParseService(c.Service); err != nil {
			return err
		}
	}
	report := agora.Explain(strings.TrimSpace(text), use, c.certificates(), time.Now())
	if c.JSON {
		return errors.Join(printJSON(report), report.Err())
	}
	if report.Token != nil {
		printToken(report.Token)
	}
	printFindings(report)
	return report.Err()
}

// tokensEnd is printed for a time of 0, which in Agora's formats means the end of the token.
const tokensEnd = "the token's end"

// printFindings prints the findings. If the first one is an error, printFindings omits it, since Run returns it.
func printFindings(report agora.Report) {
	for i, f := range report.Findings {
		switch {
		case i == 0 && f.Severity == agora.SeverityError:
		case f.Code == agora.FindingSigned:
			fmt.Printf("signature  good: %s\n", f.Text)
		default:
			fmt.Printf("%-10s %s\n", f.Severity, f.Text)
		}
	}
}

func printToken(t *agora.Token) {
	fmt.Printf("version    %s\napp id     %s\nissued     %s\nexpires    %s\n", t.Version, t.AppID, moment(t.IssuedAt, tokensEnd), moment(t.ExpiresAt, tokensEnd))
	for _, s := range t.Services {
		fmt.Printf("service    %s", s.Type)
		if s.Channel != "" {
			fmt.Printf("  channel %q", s.Channel)
		}
		if s.User != "" {
			fmt.Printf("  user %q", s.User)
		} else if t.Checksums == nil && s.Type == agora.ServiceRTC {
			fmt.Print("  any user")
		}
		fmt.Println()
		for _, p := range s.Privileges {
			fmt.Printf("           %d %-14s until %s\n", p.ID, p.Name, moment(p.ExpiresAt, tokensEnd))
		}
	}
}

// moment formats a time for people; for a time of 0 it returns the text `none`.
func moment(s session.UnixSec, none string) string {
	if s == 0 {
		return none
	}
	at := s.Time()
	return fmt.Sprintf("%s (%s)", at.UTC().Format(time.RFC3339), time.Until(at).Round(time.Second))
}
