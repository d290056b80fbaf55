// Package client keeps one Agora call of a Go program, such as a recorder or an agent, supplied
// with fresh tokens: it joins the service, gives each new bundle of tokens to the program,
// confirms it, and reconnects after every loss of the connection. The example is a complete
// recorder.
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
	// URL is the service's WebSocket, such as wss://calls.example.com/v1/ws, or the service,
	// such as https://calls.example.com.
	URL string
	// Credential fetches the JWT for a join from your back end. It is called for each
	// attempt to join, and not to resume; its ctx ends after 30 s. A nil Credential sends
	// none, which a service with --auth=none accepts.
	Credential func(ctx context.Context) (string, error)

	RTC  *RTC   // requests an RTC token
	RTM  string // requests a Signaling token for this user
	Chat string // requests a Chat token for this user
	// TTL is the lifetime of tokens to request, in whole seconds. 0 leaves it to the
	// credential and the service.
	TTL time.Duration
	// TokenFormat is "007", "006" or "007-single". Empty leaves it to the credential and
	// the service.
	TokenFormat string

	// Apply gives tokens to the SDKs, and returns when the SDKs have accepted or refused
	// them. If the error is nil, the client confirms the bundle. Otherwise it sends the
	// error's text to the service, which logs it and mints new tokens. There is one call at
	// a time, always with the newest bundle. ctx ends with the ctx of Run, and Run returns
	// after Apply has returned.
	Apply func(ctx context.Context, t Tokens) error
	// Notify, if not nil, is called with each event of the connection. It must not block.
	Notify func(Event)
	// HTTPClient makes the handshake; nil means http.DefaultClient.
	HTTPClient *http.Client
}

// RTC names a channel and the user who joins it: the Account, or the UID if Account is empty.
// UID 0 requests a token that works for any uid.
type RTC struct {
	Channel   string
	UID       uint32
	Account   string
	Publisher bool // false: subscriber
}

// Tokens is a bundle: a token for each service that the Config requests.
type Tokens struct {
	Action Action
	// RTC, RTM and Chat are the tokens for the SDKs; "" for a service that was not
	// requested.
	RTC, RTM, Chat string
	ExpiresAt      time.Time // of all tokens, on the service's clock

	Seq     uint64 // numbers the bundles of a session, from 1
	Attempt int    // of a push; above 1: the service repeats it, since it got no answer
	Cause   string // of a push: "schedule", "renew", "nack", "role", "certificate", or a future one
}

// Action is what to do with a bundle of tokens.
type Action string

// Actions.
const (
	Join   Action = machine.ActionJoin    // join the call with these first tokens
	Renew  Action = protocol.ActionRenew  // call the SDK's renewToken
	Rejoin Action = protocol.ActionRejoin // join the call again, since the old tokens have expired
)

// ErrSilent is returned by an Apply that does not know whether the SDK accepted the tokens.
// The service pushes them again.
var ErrSilent = machine.ErrSilent

// Event is something that happened to the connection.
type Event struct {
	Kind    Kind
	Session string        // the session's id; empty before the first Connected
	Err     error         // of Lost and Refused
	After   time.Duration // of Lost and Moved: until the next attempt
}

// Kind is the kind of an Event.
type Kind string

// Kinds of events. Without a connection, the tokens of a call work until they expire.
const (
	Connected Kind = "connected" // joined or resumed
	Lost      Kind = "lost"      // the connection broke, or could not be opened
	Moved     Kind = "moved"     // the service asked the client to connect again
	Refused   Kind = "refused"   // the service answered a message, or a leave over HTTP, with an error
)

// ErrUnknownSession is the Err of a Lost event if the service does not know the session any
// more. The client then joins afresh.
var ErrUnknownSession = errors.New("the service does not know the session")

// EndedError says that the session is over. The program should leave its call.
type EndedError struct {
	// Reason is "revoked", "denied", "expired" (a new Run may join again), "superseded"
	// (another connection has taken over the session), or a future one.
	Reason string
	// AccessEndsAt is when the last token of the session expires; zero if unknown.
	AccessEndsAt time.Time
}

func (e *EndedError) Error() string {
	if e.AccessEndsAt.IsZero() {
		return "session ended: " + e.Reason
	}
	return fmt.Sprintf("session ended: %s; access ends at %s", e.Reason, e.AccessEndsAt.UTC().Format(time.RFC3339))
}

// DeniedError says that the service refused the client for good: trying again as before
// would end the same way.
type DeniedError struct {
	CloseCode int    // of the WebSocket, such as 4401 for an invalid credential, or 4403 for one that does not grant the request
	Code      string // such as "unauthenticated" or "forbidden"; empty if the service did not send one
	Message   string // for developers
}

func (e *DeniedError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("closed with %d", e.CloseCode)
	}
	return fmt.Sprintf("refused with %d: %s: %s", e.CloseCode, e.Code, e.Message)
}

// Client keeps one call supplied with tokens. Its methods are safe for concurrent use.
type Client struct {
	config Config
	renew  chan struct{}
	leave  chan struct{}
}

// New returns a Client. Run starts it.
func New(c Config) *Client {
	if c.Notify == nil {
		c.Notify = func(Event) {}
	}
	return &Client{config: c, renew: make(chan struct{}, 1), leave: make(chan struct{}, 1)}
}

// Renew should be called when an SDK warns that its tokens expire. The client requests fresh
// tokens if the service should have pushed them already; it ignores the warning otherwise,
// since an SDK warns at once of tokens with a lifetime of 30 s.
func (c *Client) Renew() { nudge(c.renew) }

// Leave ends the session, after which Run returns. If there is no connection for 5 s, it ends
// the session over HTTP, under the URL without its /ws. If that fails too, it calls Notify, and
// the session ends when its tokens have expired.
func (c *Client) Leave() { nudge(c.leave) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // already requested
	}
}

// Run connects and applies tokens until the session ends or ctx is done. It must be called
// once. It returns nil after Leave, an *EndedError, a *DeniedError, the error of ctx, or an
// error about the Config. If ctx ends, the session stays open until its tokens have expired.
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

// join returns the first message, without a credential, and completes the URL.
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
