package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"refresher/client"
	"refresher/internal/session"
	"refresher/web/demo/edge"
)

type callCommand struct {
	URL        string `env:"REFRESHER_URL" default:"ws://127.0.0.1:8080/v1/ws" help:"URL of the service, such as https://calls.example.com, or of its WebSocket."`
	Credential string `env:"REFRESHER_CREDENTIAL" placeholder:"JWT" help:"Credential, if the service requires one; see token grant. Give it by the environment, since process lists show flags."`
	Channel    string `default:"demo" help:"RTC channel; an empty name joins without RTC."`
	UID        uint32 `default:"1" help:"RTC uid."`
	Account    string `help:"RTC user account, instead of the uid."`
	Role       string `enum:"publisher,subscriber" default:"publisher" help:"publisher or subscriber."`
	RTMUser    string `name:"rtm-user" placeholder:"USER" help:"RTM user id; - joins without RTM. Default: the RTC user."`
	ChatUser   string `placeholder:"USER" help:"Chat user id. Default: join without Chat."`
	TTL        int64  `placeholder:"SECONDS" help:"Token lifetime to request. Default: the service's --token-ttl."`
	Format     string `name:"token-format" enum:",007,006,007-single" default:"" placeholder:"FORMAT" help:"Token format to request: 007, 006 for old SDKs (only if the credential or the service allows it), or 007-single for one token that opens RTC and RTM. Default: the format of the credential, or else of the service."`
	Renewals   int    `placeholder:"N" help:"Leave after this many confirmed renewals. Default: stay until Ctrl-C."`
	Edge       string `placeholder:"HOST:PORT" help:"Join the call at a stand-in for Agora's edge (tools/edge), which checks the tokens as Agora does."`
	Mute       bool   `help:"Never confirm a renewal, to see how the service reacts."`
	Refuse     bool   `help:"Refuse every renewal, as an SDK can."`
}

// Run joins one call and keeps it until Ctrl-C.
func (c *callCommand) Run() error {
	stop := onSignals()
	defer stop.release()
	if err := resolveSecrets(flagged("--credential", &c.Credential, "")); err != nil {
		return err
	}
	call := &call{out: os.Stdout, command: c}
	call.client = client.New(c.config(call))
	if c.Edge != "" {
		var err error
		if call.edge, err = dialEdge(stop.second, c.Edge, call); err != nil {
			return err
		}
		defer call.edge.close()
	}
	ctx, cancel := context.WithCancelCause(stop.second)
	defer cancel(nil)
	call.giveUp = cancel
	leaving := context.AfterFunc(stop.first, func() {
		call.client.Leave()
		time.AfterFunc(2*time.Second, func() { cancel(nil) }) // after 2 s, exit even if the service has not answered the message leave
	})
	defer leaving()
	err := call.client.Run(ctx)
	if reason, ok := errors.AsType[*uselessError](context.Cause(ctx)); ok {
		err = reason
	}
	if stop.first.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		err = inFlags(err)
	}
	if call.edge != nil {
		err = errors.Join(err, call.edge.leave(stop.second, call.tokens))
	}
	if call.tokens.Seq > 0 {
		call.summary()
	}
	return err
}

// config returns the configuration of the Go client. The client passes its tokens to `call`, which takes the place of
// Agora's SDK.
func (c *callCommand) config(call *call) client.Config {
	config := client.Config{
		URL: c.URL, Credential: func(context.Context) (string, error) { return c.Credential, nil },
		Chat: c.ChatUser, TTL: time.Duration(c.TTL) * time.Second, TokenFormat: c.Format,
		Apply: call.apply, Notify: call.notify,
	}
	if c.Channel != "" {
		config.RTC = &client.RTC{Channel: c.Channel, UID: c.UID, Account: c.Account, Publisher: c.Role == "publisher"}
	}
	if c.RTMUser != "-" {
		config.RTM = cmp.Or(c.RTMUser, c.user())
	}
	return config
}

// user returns the RTC account or, without an account, the uid as text.
func (c *callCommand) user() string {
	return cmp.Or(c.Account, strconv.FormatUint(uint64(c.UID), 10))
}

// call prints what happens to one call. It takes the place of Agora's SDK: it accepts or refuses tokens.
type call struct {
	command *callCommand
	client  *client.Client
	edge    *edgeLink // nil without --edge
	out     io.Writer
	giveUp  context.CancelCauseFunc

	tokens   client.Tokens // in use
	renewals int
	margin   time.Duration // shortest time that the old tokens had left when they were replaced
}

func (c *call) apply(ctx context.Context, b client.Tokens) error {
	switch {
	case b.Action != client.Renew:
		return c.rejoin(ctx, b)
	case c.command.Mute:
		c.say("push", "#%d attempt %d, cause %s: not answering (--mute)", b.Seq, b.Attempt, b.Cause)
		return client.ErrSilent
	case c.command.Refuse:
		c.say("push", "#%d attempt %d, cause %s: refusing (--refuse)", b.Seq, b.Attempt, b.Cause)
		return errors.New("refused by --refuse")
	}
	left := time.Until(c.tokens.ExpiresAt)
	if left <= 0 && c.edge == nil {
		return errors.New("INVALID_OPERATION: the tokens have expired, and the SDK has left the call")
	}
	if b.ExpiresAt.Before(c.tokens.ExpiresAt) {
		return fmt.Errorf("tokens would expire at %d, before those in use at %d", b.ExpiresAt.Unix(), c.tokens.ExpiresAt.Unix())
	}
	if c.edge != nil {
		if err := c.edge.renew(ctx, b); err != nil {
			c.say("refused", "#%d: %v", b.Seq, err)
			return err
		}
	}
	c.tokens = b
	c.renewals++
	if c.renewals == 1 || left < c.margin {
		c.margin = left
	}
	c.say("renewed", "#%d%s, with %.1fs left in the old tokens; the new ones last until %s%s",
		b.Seq, why(b), left.Seconds(), clock(b.ExpiresAt), attempt(b))
	if c.command.Renewals > 0 && c.renewals >= c.command.Renewals {
		c.client.Leave()
	}
	return nil
}

func (c *call) rejoin(ctx context.Context, b client.Tokens) error {
	if c.edge != nil {
		if err := c.edge.join(ctx, c.command, b); err != nil {
			c.say("refused", "#%d: %v", b.Seq, err)
			return err
		}
	}
	c.tokens = b
	word := "joined"
	if b.Action == client.Rejoin {
		word = "rejoined"
	}
	c.say(word, "#%d, tokens for %s last until %s", b.Seq, services(b), clock(b.ExpiresAt))
	return nil
}

// warned handles an event of the stand-in for Agora's edge, such as its warning that a token will expire soon.
func (c *call) warned(e edge.Event) {
	c.say("edge", "%s (%s)", e.Name, e.Leg)
	if e.Name == edge.WillExpire {
		c.client.Renew()
	}
}

func (c *call) notify(n client.Event) {
	switch n.Kind {
	case client.Connected:
	case client.Lost:
		if err := useless(n.Err); err != nil && n.Session == "" {
			c.giveUp(err)
			return
		}
		c.say("lost", "%v; again in %.1fs", n.Err, n.After.Seconds())
	case client.Moved:
		c.say("moved", "the service asked to connect again in %.1fs", n.After.Seconds())
	case client.Refused:
		c.say("error", "%v", n.Err)
	}
}

// uselessError is an error that every further attempt to connect would meet again. Its text says what to change.
type uselessError struct{ text string }

func (e *uselessError) Error() string { return e.text }

// useless returns a *uselessError if err comes from a wrong URL, so that all further attempts would fail too. Otherwise
// it returns nil, and the client tries again.
func useless(err error) error {
	handshake, answered := errors.AsType[*client.HandshakeError](err)
	unknown, noHost := errors.AsType[*net.DNSError](err)
	certificate, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case answered && handshake.Status >= 300 && handshake.Status < 500 &&
		handshake.Status != http.StatusRequestTimeout && handshake.Status != http.StatusTooManyRequests:
		return &uselessError{fmt.Sprintf("--url: %v; want the service's public port and path, such as ws://127.0.0.1:8080/v1/ws", err)}
	case noHost && unknown.IsNotFound:
		return &uselessError{fmt.Sprintf("--url: there is no host %q", unknown.Name)}
	case errors.Is(err, http.ErrSchemeMismatch):
		return &uselessError{"--url: the service does not speak TLS there; want ws:// (or http://) in place of wss://"}
	case untrusted:
		return &uselessError{fmt.Sprintf("--url: the TLS certificate is not accepted: %v", certificate.Err)}
	default:
		return nil
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

func services(t client.Tokens) string {
	var names []string
	if t.RTC != "" {
		names = append(names, "rtc")
	}
	if t.RTM != "" {
		names = append(names, "rtm")
	}
	if t.Chat != "" {
		names = append(names, "chat")
	}
	return strings.Join(names, ", ")
}

func why(b client.Tokens) string {
	if b.Cause == "" || b.Cause == string(session.CauseSchedule) {
		return ""
	}
	return " (" + b.Cause + ")"
}

func attempt(b client.Tokens) string {
	if b.Attempt < 2 {
		return ""
	}
	return fmt.Sprintf(" (attempt %d)", b.Attempt)
}

func clock(t time.Time) string { return t.Format("15:04:05") }
