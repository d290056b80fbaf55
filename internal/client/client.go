package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Bundle is a set of new tokens, with what to do with them.
type Bundle struct {
	protocol.TokenPrivilege
	// First is true until Apply has taken tokens: there is no call yet.
	First bool
}

// ExpiresAt is when the tokens run out; those of a bundle run
// out together.
func (b *Bundle) ExpiresAt() session.UnixSec {
	for _, t := range []*protocol.Token{b.Tokens.RTC, b.Tokens.RTM, b.Tokens.Chat} {
		if t != nil {
			return t.ExpiresAt
		}
	}
	return 0
}

// Config is what a Client needs.
type Config struct {
	// URL is the service's WebSocket, such as ws://127.0.0.1:8080/v1/ws.
	URL string
	// Join is the first message; its Type is set by the client.
	Join protocol.ClientMessage
	// Apply hands tokens to the SDK. The client acks when it returns nil and
	// nacks with the error's text otherwise, but for ErrSilent. Calls come one at a time.
	Apply func(ctx context.Context, b Bundle) error
	// Notice is told of what happens to the connection. May be nil.
	Notice func(Notice)
	// HTTPClient makes the handshake. Nil means http.DefaultClient.
	HTTPClient *http.Client
}

// Notice is something that happened to the connection.
type Notice struct {
	Kind  Kind
	Err   error         // of Lost and Refused
	After time.Duration // of Lost and Moved: until the next attempt
}

// Kind is the kind of a Notice.
type Kind string

// Kinds of notices.
const (
	Connected Kind = "connected" // joined or resumed
	Lost      Kind = "lost"      // the connection broke
	Moved     Kind = "moved"     // the server asked to connect again
	Refused   Kind = "refused"   // the server answered a message with an error
)

// EndedError says that the session is over, and until when the tokens that are
// out still work.
type EndedError struct{ protocol.Ended }

func (e *EndedError) Error() string {
	return fmt.Sprintf("session ended: %s; access ends at %s", e.Reason, e.AccessEndsAt.Time().UTC().Format(time.RFC3339))
}

// ClosedError says that the server closed for good.
type ClosedError struct {
	Code    protocol.CloseCode
	Refusal *protocol.Error // the message before, if there was one
}

func (e *ClosedError) Error() string {
	if e.Refusal != nil {
		return fmt.Sprintf("refused with %d: %s: %s", e.Code, e.Refusal.Code, e.Refusal.Message)
	}
	return fmt.Sprintf("closed with %d", e.Code)
}

// Client keeps one call's tokens fresh. Run is to be called once; Renew and
// Leave may be called from anywhere.
type Client struct {
	config Config
	renew  chan struct{}
	leave  chan struct{}

	// Run's own.
	session, key string
	seq          uint64          // last applied
	expiresAt    session.UnixSec // of the tokens applied
	renewBefore  time.Duration
	lead         time.Duration // of the server's clock over ours
	joinedAt     time.Time     // on the present connection, or the last; zero: never on that one
}

// New makes a Client.
func New(c Config) *Client {
	c.Join.Type = protocol.TypeJoin
	if c.Notice == nil {
		c.Notice = func(Notice) {}
	}
	return &Client{config: c, renew: make(chan struct{}, 1), leave: make(chan struct{}, 1)}
}

// Renew is to be called when the SDK itself warns that its tokens run out. It
// asks for fresh ones if the server should have pushed them by then, as the
// protocol wants it: an SDK whose tokens live under 30 s warns as soon as it
// has them.
func (c *Client) Renew() { nudge(c.renew) }

// Leave ends the session; Run returns then.
func (c *Client) Leave() { nudge(c.leave) }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run keeps the session until it is over or ctx is done. It returns nil after
// Leave, the context's error, an *EndedError or a *ClosedError.
func (c *Client) Run(ctx context.Context) error {
	for attempts := 0; ; {
		moveAt, err := c.connect(ctx)
		// From joined on: an attempt that nobody answers takes as long as a
		// connection that held, and is none.
		if !c.joinedAt.IsZero() && time.Since(c.joinedAt) > stableFor {
			attempts = 0
		}
		var ended *EndedError
		var closed *ClosedError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &ended) && ended.Reason == session.EndLeft:
			return nil
		case errors.Is(err, ErrUnknownSession):
			c.session, c.key, c.seq = "", "", 0 // join afresh; the tokens go on working
			c.config.Notice(Notice{Kind: Lost, Err: err})
			err = nil
		case errors.As(err, &ended) || errors.As(err, &closed):
			return err
		case errors.Is(err, errMove):
			after := max(0, time.Until(moveAt))
			c.config.Notice(Notice{Kind: Moved, After: after})
			err = sleep(ctx, after)
		default:
			after := backoff(attempts)
			attempts++
			c.config.Notice(Notice{Kind: Lost, Err: err, After: after})
			err = sleep(ctx, after)
		}
		if err != nil {
			return err
		}
	}
}

// overdue reports whether the server should have renewed the tokens by now.
func (c *Client) overdue(now time.Time) bool {
	return c.expiresAt.Time().Sub(now.Add(c.lead)) < c.renewBefore
}

// backoff is the wait after so many failures in a row: anything up to a bound
// that doubles each time, so that clients that lost a node together do not come
// back together.
func backoff(attempts int) time.Duration {
	bound := min(maxBackoff, minBackoff<<min(attempts, 16))
	return rand.N(bound) //nolint:gosec // a spread, not a secret
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect makes one connection and stays on it to its end. With errMove comes
// the moment for the next one.
func (c *Client) connect(ctx context.Context) (moveAt time.Time, err error) {
	c.joinedAt = time.Time{}
	dialing, cancel := context.WithTimeout(ctx, AnswerTimeout)
	defer cancel()
	socket, response, err := websocket.Dial(dialing, c.config.URL, &websocket.DialOptions{
		HTTPClient: c.config.HTTPClient, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		if response != nil && response.StatusCode == http.StatusForbidden {
			return moveAt, &ClosedError{Code: protocol.CloseForbidden}
		}
		return moveAt, fmt.Errorf("connect: %w", err)
	}
	defer socket.CloseNow() //nolint:errcheck // it may be closed already
	l := &link{client: c, socket: socket}
	err = l.run(ctx)
	return l.moveAt, err
}

// greeting is the first message on a new connection.
func (c *Client) greeting() protocol.ClientMessage {
	if c.key == "" {
		return c.config.Join
	}
	return protocol.ClientMessage{Type: protocol.TypeResume, Session: c.session, Key: c.key, Seq: &c.seq, ExpiresAt: c.expiresAt}
}
