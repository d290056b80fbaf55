// Package client keeps one Agora call of a Go program, such as a recorder or an agent, in
// fresh tokens: it joins the service, hands each new bundle of tokens to the program,
// confirms it, and comes back by itself after every loss of the connection. The example
// is a whole recorder.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	machine "refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Config is what a Client needs: URL, Apply, and at least one of RTC, RTM and Chat.
type Config struct {
	// URL is the service's WebSocket, such as wss://calls.example.com/v1/ws.
	URL string
	// Credential fetches the JWT that a join shows, from the application's back end. It is
	// called for each attempt to join, and not to resume; its ctx ends after 30 s. A nil
	// Credential shows none, which a service with --auth=none takes.
	Credential func(ctx context.Context) (string, error)

	RTC  *RTC   // asks for an RTC token
	RTM  string // the user that asks for a Signaling token
	Chat string // the user that asks for a Chat token
	// TTL is the lifetime of tokens to ask for, in whole seconds. 0 leaves it to the
	// credential and the service.
	TTL time.Duration
	// TokenFormat is "007", "006" or "007-single". Empty leaves it to the credential and
	// the service.
	TokenFormat string

	// Apply hands tokens to the SDKs, and returns when they took them. The client confirms
	// the bundle if the error is nil; otherwise it sends the error's text to the service,
	// which logs it and mints others. Calls come one at a time, and only for the newest
	// bundle. The ctx is that of Run, which ends no sooner than Apply.
	Apply func(ctx context.Context, t Tokens) error
	// Notify, if not nil, hears what happens to the connection. It must not block.
	Notify func(Event)
	// HTTPClient makes the handshake; nil stands for http.DefaultClient.
	HTTPClient *http.Client
}

// RTC names a channel and who joins it: an Account, or, if that is empty, a UID, of which 0
// gives a token that works for any uid.
type RTC struct {
	Channel   string
	UID       uint32
	Account   string
	Publisher bool // or a subscriber
}

// Tokens is a bundle: a token for each service that the Config asks for.
type Tokens struct {
	Action Action
	// RTC, RTM and Chat are for the SDKs as they are. Those not asked for are empty.
	RTC, RTM, Chat string
	ExpiresAt      time.Time // of all of them, by the service's clock

	Seq     uint64 // numbers the bundles of a session, from 1
	Attempt int    // of a push; above 1: the service sends it again, since no answer came
	Cause   string // of a push: "schedule", "renew", "nack", "role", "certificate", or a newer one
}

// Action is what to do with tokens.
type Action string

// Actions.
const (
	Join   Action = machine.ActionJoin    // join the call: these are the first
	Renew  Action = protocol.ActionRenew  // hand them to the SDK's renewToken
	Rejoin Action = protocol.ActionRejoin // join the call again: the old ones ran out
)

// ErrSilent is returned by an Apply that does not know whether the SDK took the tokens.
// The service pushes them again.
var ErrSilent = machine.ErrSilent

// Event is something that happened to the connection.
type Event struct {
	Kind    Kind
	Session string        // its id, by which operators know it; empty before the first Connected
	Err     error         // of Lost and Refused
	After   time.Duration // of Lost and Moved: until the next attempt
}

// Kind is the kind of an Event.
type Kind string

// Kinds of events. The tokens of a call go on working without a connection.
const (
	Connected Kind = "connected" // joined or resumed
	Lost      Kind = "lost"      // the connection broke, or could not be made
	Moved     Kind = "moved"     // the service asked to connect again
	Refused   Kind = "refused"   // the service answered a message, or a leave over HTTP, with an error
)

// ErrUnknownSession is the Err of a Lost after which the client joins afresh: the service
// does not know the session any more.
var ErrUnknownSession = errors.New("the service does not know the session")

// EndedError says that the session is over. The program leaves its call.
type EndedError struct {
	// Reason is "revoked", "denied", "expired" (a new Run may join again), "superseded"
	// (another connection took the session over), or a newer one.
	Reason string
	// AccessEndsAt is when the last token of the session expires; zero if not known.
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
	CloseCode int    // of the WebSocket, such as 4401 for no valid credential, 4403 for one that does not grant this
	Code      string // such as "unauthenticated" or "forbidden"; empty if the service did not say
	Message   string // for a developer to read
}

func (e *DeniedError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("closed with %d", e.CloseCode)
	}
	return fmt.Sprintf("refused with %d: %s: %s", e.CloseCode, e.Code, e.Message)
}

// Client keeps one call. Its methods are safe for concurrent use.
type Client struct {
	config Config
	renew  chan struct{}
	leave  chan struct{}
}

// New returns a Client that Run starts.
func New(c Config) *Client {
	if c.Notify == nil {
		c.Notify = func(Event) {}
	}
	return &Client{config: c, renew: make(chan struct{}, 1), leave: make(chan struct{}, 1)}
}

// Renew says that an SDK warned of its tokens' end. The client asks the service for fresh
// ones if it should have pushed some by then: an SDK warns at once of tokens that live 30 s.
func (c *Client) Renew() { nudge(c.renew) }

// Leave ends the session, and Run with it. If there is no connection for the next 5 s, it
// ends the session over HTTP, under the URL without its /ws. If that fails too, Notify hears
// of it, and the session ends when its tokens have expired.
func (c *Client) Leave() { nudge(c.leave) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is asked for already
	}
}

// Run keeps the call until it is over or ctx is done, and is called once. It returns nil
// after Leave, ctx's error, an *EndedError, a *DeniedError, or what is wrong with the
// Config. After ctx's error the session stays open until its tokens have expired.
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

// join is the first message, without a credential.
func (c *Config) join() (protocol.ClientMessage, error) {
	m := protocol.ClientMessage{Type: protocol.TypeJoin}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return m, errors.New("url: want ws:// or wss://, a host and a path, such as wss://calls.example.com/v1/ws")
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
