// Package client keeps the tokens of one Agora call fresh, for Go programs such as recorders and agents. It
// joins the service, gives each new bundle of tokens to the program, confirms the bundle, and reconnects
// whenever the connection is lost. The example in this package's documentation is a complete recorder.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	machine "refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Config configures a Client. URL, Apply, and at least one of RTC, RTM and Chat are required.
type Config struct {
	// URL is the address of the service, such as https://calls.example.com, or of its WebSocket, such as
	// wss://calls.example.com/v1/ws.
	URL string
	// Credential fetches the JWT for a join from your back end. The client calls it for each attempt to join,
	// but not to resume a session. Its ctx ends after 30 s. If Credential is nil, the client sends none,
	// which a service with --auth=none accepts.
	Credential func(ctx context.Context) (string, error)

	// RTC, RTM (a Signaling user) and Chat (a Chat user) say for whom the client requests tokens. If a field is nil or
	// empty, the client requests no token for that service.
	RTC  *RTC
	RTM  string
	Chat string
	// TTL is the requested lifetime of tokens, in whole seconds. If it is 0, the credential and the service
	// decide.
	TTL time.Duration
	// TokenFormat is "007", "006" or "007-single". If it is empty, the credential and the service decide.
	TokenFormat string

	// Apply gives tokens to the SDKs, and returns when the SDKs have accepted or refused them. If it returns
	// nil, the client confirms the bundle. Otherwise the client sends the error's text to the service, which
	// logs it and mints new tokens. Only one call of Apply runs at a time, always with the newest bundle. Its
	// ctx ends with the ctx of Run. Run returns after Apply has returned.
	Apply func(ctx context.Context, t Tokens) error
	// Notify is called for each event of the connection, unless it is nil. It must not block.
	Notify func(Event)
	// HTTPClient makes the WebSocket handshake; nil means http.DefaultClient.
	HTTPClient *http.Client
}

// RTC is a channel and a user in it: the Account, or the UID if Account is empty. UID 0 requests a token that
// is valid for any UID. The user's role is subscriber, unless Publisher is set.
type RTC struct {
	Channel   string
	UID       uint32
	Account   string
	Publisher bool
}

// Tokens is a bundle: one token for each service that the Config requests.
type Tokens struct {
	Action Action
	// RTC, RTM and Chat are the tokens for the SDKs, empty for services that were not requested.
	RTC, RTM, Chat string
	// ExpiresAt is when all tokens of the bundle expire, on the service's clock.
	ExpiresAt time.Time

	// Seq is the number of the bundle in its session. The first bundle has number 1.
	Seq uint64
	// Attempt is 1 in the first push of a bundle, and higher if the service pushes the bundle again because it got no
	// answer. It is 0 if the service sent the bundle in answer to a join or a resume.
	Attempt int
	// Cause is why the service pushed the bundle: "schedule", "renew", "nack", "role" or "certificate". It is empty in
	// answer to a join or a resume. A newer service may send other causes.
	Cause string
}

// Action is what the program must do with a bundle of tokens.
type Action string

// Actions.
const (
	Join   Action = machine.ActionJoin    // the program must join the call; these are its first tokens
	Renew  Action = protocol.ActionRenew  // the program must pass the tokens to the SDK's renewToken
	Rejoin Action = protocol.ActionRejoin // the program must join the call again, since its old tokens have expired
)

// ErrSilent must be returned by Apply if it does not know whether the SDK accepted the tokens. The service
// then pushes them again.
var ErrSilent = machine.ErrSilent

// Event reports a change of the connection to the service.
type Event struct {
	Kind    Kind
	Session string        // id of the session; empty before the first Connected event
	Err     error         // set only in Lost and Refused events
	After   time.Duration // wait until the next attempt; set only in Lost and Moved events
}

// Kind is the kind of an Event.
type Kind string

// Kinds of events. While there is no connection, the call goes on until its tokens expire.
const (
	Connected Kind = "connected" // the client has joined or resumed its session
	Lost      Kind = "lost"      // the connection was lost, or could not be opened
	Moved     Kind = "moved"     // the service told the client to reconnect
	Refused   Kind = "refused"   // the service returned an error for a message, or for a leave over HTTP
)

// ErrUnknownSession is the Err of a Lost event if the service does not know the session any more. The client
// then joins a new session.
var ErrUnknownSession = errors.New("the service does not know the session")

// EndedError means that the session is over. The program should leave its call.
type EndedError struct {
	// Reason is "revoked", "denied", "expired" (a new Run may join again), or "superseded" (another
	// connection has taken over the session). A newer service may send others.
	Reason string
	// AccessEndsAt is when the session's last token expires; zero if unknown.
	AccessEndsAt time.Time
}

func (e *EndedError) Error() string {
	if e.AccessEndsAt.IsZero() {
		return "session ended: " + e.Reason
	}
	return fmt.Sprintf("session ended: %s; access ends at %s", e.Reason, e.AccessEndsAt.UTC().Format(time.RFC3339))
}

// DeniedError means that the service refused the client permanently: the same request would be refused again.
type DeniedError struct {
	// CloseCode is the WebSocket close code, such as 4401 if the credential is invalid, or 4403 if the credential does
	// not grant the requested tokens.
	CloseCode int
	// Code is the service's error code, such as "unauthenticated" or "forbidden". It is empty if the service sent none.
	Code string
	// Message explains the error to developers.
	Message string
}

func (e *DeniedError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("closed with %d", e.CloseCode)
	}
	return fmt.Sprintf("refused with %d: %s: %s", e.CloseCode, e.Code, e.Message)
}

// Client keeps the tokens of one call fresh. Its methods are safe for concurrent use.
type Client struct {
	config Config
	renew  chan struct{}
	leave  chan struct{}
}

// New returns a Client for c. It does nothing until Run is called.
func New(c Config) *Client {
	if c.Notify == nil {
		c.Notify = func(Event) {}
	}
	return &Client{config: c, renew: make(chan struct{}, 1), leave: make(chan struct{}, 1)}
}

// Renew should be called when an SDK warns that its tokens expire. The client then requests fresh tokens, but only if
// the service should already have pushed them. Without this condition, tokens that live 30 s or less would be renewed
// without end: an SDK warns 30 s before the expiry, and so as soon as it gets such tokens.
func (c *Client) Renew() { nudge(c.renew) }

// Leave ends the session, and then Run returns. If there is no connection for 5 s, the client ends the session by an
// HTTP request instead. If this request fails, too, the client calls Notify, and the session lasts until its tokens
// have expired.
func (c *Client) Leave() { nudge(c.leave) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // the channel already holds a request, and one is enough
	}
}

// Run connects and applies tokens until the session ends or ctx is done. Call it only once. It returns nil
// after Leave, an *EndedError, a *DeniedError, the error of ctx, or an error about the Config. If ctx is
// done, the session stays open until its tokens have expired.
func (c *Client) Run(ctx context.Context) error {
	join, err := c.config.join()
	if err != nil {
		return err
	}
	r := run{
		Client: c, join: join, machine: machine.New(time.Now(), machine.Spread),
		events: make(chan event), applied: make(chan error, 1),
	}
	return r.loop(ctx)
}

// join checks the Config, completes its URL, and returns the join message without a credential.
func (c *Config) join() (protocol.ClientMessage, error) {
	m := protocol.ClientMessage{Type: protocol.TypeJoin}
	var err error
	if c.URL, err = endpoint(c.URL); err != nil {
		return m, err
	}
	if r := c.RTC; r != nil {
		m.RTC = &protocol.RTC{Channel: r.Channel, UID: &r.UID}
		if r.Account != "" {
			m.RTC.UID, m.RTC.Account = nil, &r.Account
		}
		if r.Publisher {
			m.RTC.Role = session.Publisher
		}
	}
	if c.RTM != "" {
		m.RTM = &protocol.User{UserID: c.RTM}
	}
	if c.Chat != "" {
		m.Chat = &protocol.User{UserID: c.Chat}
	}
	if c.TTL != 0 {
		seconds := int64(c.TTL / time.Second)
		m.TTL = &seconds
	}
	if c.TokenFormat != "" {
		m.TokenFormat = new(session.Format)
		err = m.TokenFormat.UnmarshalText([]byte(c.TokenFormat))
	}
	return m, err
}
