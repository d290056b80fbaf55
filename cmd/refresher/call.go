package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

type callCommand struct {
	URL        string `env:"REFRESHER_URL" default:"ws://127.0.0.1:8080/v1/ws" help:"The service's WebSocket."`
	Credential string `env:"REFRESHER_CREDENTIAL" placeholder:"JWT" help:"Credential, where the service wants one; see token grant. Better given by environment: flags show in process lists."`
	Channel    string `default:"demo" help:"RTC channel; empty for none."`
	UID        uint32 `default:"1" help:"RTC uid."`
	Account    string `help:"RTC user account, in place of the uid."`
	Role       string `enum:"publisher,subscriber" default:"publisher" help:"publisher or subscriber."`
	RTMUser    string `name:"rtm-user" placeholder:"USER" help:"RTM user id. Default: the RTC user; - for none."`
	ChatUser   string `placeholder:"USER" help:"Chat user id. Default: none."`
	TTL        int64  `placeholder:"SECONDS" help:"Token lifetime to ask for. Default: the service's."`
	Format     string `name:"token-format" enum:",007,006,007-single" default:"" placeholder:"FORMAT" help:"Format of tokens to ask for: 007, 006 for old SDKs (if the credential or the service names it too), or 007-single for one token that opens RTC and RTM. Default: the credential's, or the service's."`
	Renewals   int    `placeholder:"N" help:"Leave after so many confirmed renewals. Default: stay until Ctrl-C."`
	Edge       string `placeholder:"HOST:PORT" help:"Hold the call at a stand-in for Agora's edge (tools/edge), which admits and drops by the real token."`
	Mute       bool   `help:"Never confirm a renewal, to see what the service does about it."`
	Refuse     bool   `help:"Refuse every renewal, as an SDK may."`
}

// Run keeps one call until Ctrl-C.
func (c *callCommand) Run() error {
	stop := onSignals()
	defer stop.release()
	if err := resolveSecrets(flagged("--credential", &c.Credential, "")); err != nil {
		return err
	}
	join, err := c.join()
	if err != nil {
		return err
	}
	call := &call{out: os.Stdout, command: c}
	call.client = client.New(client.Config{URL: c.URL, Join: join, Apply: call.apply, Notice: call.notice})
	if c.Edge != "" {
		if call.edge, err = dialEdge(stop.second, c.Edge, call); err != nil {
			return err
		}
		defer call.edge.close()
	}
	ctx, cancel := context.WithCancel(stop.second)
	defer cancel()
	leaving := context.AfterFunc(stop.first, func() {
		call.client.Leave()
		time.AfterFunc(2*time.Second, cancel) // when there is nobody to say so
	})
	defer leaving()
	err = call.client.Run(ctx)
	if stop.first.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if call.edge != nil {
		err = errors.Join(err, call.edge.leave(stop.second, call.tokens))
	}
	call.summary()
	return err
}

// join is the call's first message.
func (c *callCommand) join() (protocol.ClientMessage, error) {
	var m protocol.ClientMessage
	user := c.Account
	if user == "" {
		user = strconv.FormatUint(uint64(c.UID), 10)
	}
	if c.Channel != "" {
		m.RTC = &protocol.RTC{Channel: c.Channel}
		if err := m.RTC.Role.UnmarshalText([]byte(c.Role)); err != nil {
			return m, err
		}
		if c.Account != "" {
			m.RTC.Account = &c.Account
		} else {
			m.RTC.UID = &c.UID
		}
	}
	switch c.RTMUser {
	case "-":
	case "":
		m.RTM = &protocol.User{UserID: user}
	default:
		m.RTM = &protocol.User{UserID: c.RTMUser}
	}
	if c.ChatUser != "" {
		m.Chat = &protocol.User{UserID: c.ChatUser}
	}
	if c.TTL != 0 {
		m.TTL = &c.TTL
	}
	if c.Format != "" {
		format := formatOf(c.Format)
		m.TokenFormat = &format
	}
	m.Auth = c.Credential
	return m, nil
}

// call shows what happens to one call, and answers as its SDK would.
type call struct {
	command *callCommand
	client  *client.Client
	edge    *edgeLink // nil: no edge, tokens are only looked at
	out     io.Writer

	tokens    protocol.Tokens // in use
	renewals  int
	margin    time.Duration   // least life left at a renewal
	expiresAt session.UnixSec // of the tokens in use
}

// apply takes new tokens as an SDK does.
func (c *call) apply(ctx context.Context, b client.Bundle) error {
	switch {
	case b.First || b.Action == protocol.ActionRejoin:
		return c.rejoin(ctx, b)
	case c.command.Mute:
		c.say("push", "#%d attempt %d, cause %s: not answering (--mute)", b.Seq, b.Attempt, b.Cause)
		return client.ErrSilent
	case c.command.Refuse:
		c.say("push", "#%d attempt %d, cause %s: refusing (--refuse)", b.Seq, b.Attempt, b.Cause)
		return errors.New("refused by --refuse")
	}
	left := time.Until(c.expiresAt.Time())
	if left <= 0 && c.edge == nil {
		return errors.New("INVALID_OPERATION: the tokens had run out, and the SDK has left")
	}
	if b.ExpiresAt() < c.expiresAt {
		return fmt.Errorf("tokens would expire at %d, before those in use at %d", b.ExpiresAt(), c.expiresAt)
	}
	if c.edge != nil {
		if err := c.edge.renew(ctx, b.Tokens); err != nil {
			c.say("refused", "#%d: %v", b.Seq, err)
			return err
		}
	}
	c.tokens, c.expiresAt = b.Tokens, b.ExpiresAt()
	c.renewals++
	if c.renewals == 1 || left < c.margin {
		c.margin = left
	}
	c.say("renewed", "#%d%s, with %.1fs left in the old tokens; the new ones last until %s%s",
		b.Seq, why(b), left.Seconds(), clock(b.ExpiresAt()), attempt(b))
	if c.command.Renewals > 0 && c.renewals >= c.command.Renewals {
		c.client.Leave()
	}
	return nil
}

// rejoin joins the call with new tokens.
func (c *call) rejoin(ctx context.Context, b client.Bundle) error {
	if c.edge != nil {
		if err := c.edge.join(ctx, c.command, b.Tokens); err != nil {
			c.say("refused", "#%d: %v", b.Seq, err)
			return err
		}
	}
	c.tokens, c.expiresAt = b.Tokens, b.ExpiresAt()
	word := "joined"
	if !b.First {
		word = "rejoined"
	}
	c.say(word, "#%d, tokens for %s last until %s", b.Seq, services(b.Tokens), clock(b.ExpiresAt()))
	return nil
}

// warned is told what the edge reports by itself.
func (c *call) warned(l edgeLine) {
	c.say("edge", "%s (%s)", l.Event, l.Leg)
	if l.Event == protocol.TypeWillExpire {
		c.client.Renew()
	}
}

func (c *call) notice(n client.Notice) {
	switch n.Kind {
	case client.Connected:
	case client.Lost:
		c.say("lost", "%v; again in %.1fs", n.Err, n.After.Seconds())
	case client.Moved:
		c.say("moved", "the service asked to connect again in %.1fs", n.After.Seconds())
	case client.Refused:
		c.say("error", "%v", n.Err)
	}
}

func (c *call) summary() {
	if c.renewals == 0 {
		c.say("left", "no renewal confirmed")
		return
	}
	c.say("left", "%d renewals confirmed, at least %.1fs before the old tokens ran out", c.renewals, c.margin.Seconds())
}

func (c *call) say(what, format string, args ...any) {
	fmt.Fprintf(c.out, "%s  %-9s %s\n", time.Now().Format("15:04:05.000"), what, fmt.Sprintf(format, args...))
}

func services(t protocol.Tokens) string {
	var names []string
	if t.RTC != nil {
		names = append(names, "rtc")
	}
	if t.RTM != nil {
		names = append(names, "rtm")
	}
	if t.Chat != nil {
		names = append(names, "chat")
	}
	return strings.Join(names, ", ")
}

func why(b client.Bundle) string {
	if b.Cause == "" || b.Cause == string(session.CauseSchedule) {
		return ""
	}
	return " (" + b.Cause + ")"
}

func attempt(b client.Bundle) string {
	if b.Attempt < 2 {
		return ""
	}
	return fmt.Sprintf(" (attempt %d)", b.Attempt)
}

func clock(s session.UnixSec) string { return s.Time().Format("15:04:05") }
