package generator

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// call is one simulated call: one goroutine runs a client.Machine over a connection.
type call struct {
	generator *Generator
	n         int
	began     time.Time    // when the call began; set before run
	expiresMs atomic.Int64 // expiry of the tokens in use, as a session.UnixMilli by this machine's clock; 0 without tokens
	had       atomic.Bool  // whether the call ever had tokens
	sentAway  atomic.Bool  // whether the service ever refused, closed or did not answer a connection of the call

	mu   sync.Mutex
	conn net.Conn // guarded by mu; nil while not connected

	// run's own.
	machine   client.Machine
	wire      *wire // nil while not connected
	over      bool
	tried     bool      // whether the call has tried to connect before
	joined    bool      // whether the call has joined on this connection
	lostAt    time.Time // when the last connection with a session was lost; zero if that never happened
	headStart time.Duration
	pushed    uint64          // highest number of a bundle (seq) that the call has received
	taking    *client.Message // bundle that the SDK will have accepted at takeAt; nil if there is none
	takeAt    time.Time
	first     *client.Message // bundle that the call uses already, although the SDK has not accepted it yet
}

func (c *call) run() {
	defer c.end()
	defer c.disconnect()
	c.machine = client.New(time.Now(), client.Spread)
	for !c.over {
		c.do(c.event())
	}
}

// event waits for the next event, and returns the step with which the client's state machine responds to it.
func (c *call) event() client.Step {
	at := c.machine.Next()
	if c.taking != nil && (at.IsZero() || c.takeAt.Before(at)) {
		at = c.takeAt
	}
	if c.wire == nil {
		c.pause(time.Until(at))
	} else {
		c.wire.net.SetReadDeadline(at)
	}
	switch {
	case c.generator.isOver() && c.machine.State() == client.Live:
		c.end() // from here on, an expiry of the tokens does not count
		c.taking = nil
		return c.machine.Leave(time.Now())
	case c.generator.isOver() && c.machine.State() != client.Leaving:
		c.over = true
		return client.Step{}
	case c.wire == nil:
		return c.due(time.Now())
	}
	data, err := c.wire.next()
	switch {
	case err == nil:
		return c.received(data)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.due(time.Now())
	}
	return c.machine.Closed(time.Now(), c.wire.closedBy)
}

func (c *call) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.generator.over:
	}
}

func (c *call) due(now time.Time) client.Step {
	if c.taking != nil && !now.Before(c.takeAt) {
		return c.take()
	}
	return c.machine.Wake(now)
}

// do executes a step that the client's state machine has returned.
func (c *call) do(s client.Step) {
	if s.Lost != "" || s.End != nil {
		c.lost(s)
	}
	if s.Connect {
		c.do(c.connect())
	}
	if s.Send != nil {
		c.send(s.Send)
	}
	if s.Apply != nil {
		c.taking, c.takeAt = s.Apply, time.Now().Add(c.generator.config.AckDelay)
		if c.generator.config.AckDelay == 0 {
			c.do(c.take())
		}
	}
}

func (c *call) connect() client.Step {
	g := c.generator
	raw, target, err := c.dial()
	if err != nil {
		g.stats.notConnected(err)
		return c.machine.Closed(time.Now(), 0)
	}
	w, err := handshake(raw, target, client.AnswerTimeout, &g.stats)
	if err != nil {
		name := "handshake"
		if refused, ok := errors.AsType[*refusedError](err); ok {
			name = refused.name
		}
		g.stats.failed(name)
		_ = raw.Close()
		return c.machine.Closed(time.Now(), 0)
	}
	c.wire = w
	c.mu.Lock()
	c.conn = raw
	c.mu.Unlock()
	return c.machine.Opened(time.Now())
}

// dial connects to the call's own node the first time, and later to a random one, as a load balancer without health
// checks would. If a node refuses the connection, it tries the others.
func (c *call) dial() (conn net.Conn, target *url.URL, err error) {
	targets := c.generator.targets
	order := rand.Perm(len(targets)) //nolint:gosec // a spread, not a secret
	if own := c.n % len(targets); !c.tried {
		c.tried = true
		i := slices.Index(order, own)
		order[0], order[i] = own, order[0]
	}
	for _, i := range order {
		target = targets[i]
		if conn, err = c.generator.config.dial(c.n, target); !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
	}
	return conn, target, err
}

// lost counts a connection that has ended, or an attempt that has failed.
func (c *call) lost(s client.Step) {
	stats := &c.generator.stats
	code, connected := protocol.CloseCode(0), c.wire != nil
	if connected {
		code = c.wire.closedBy
	}
	broke := c.disconnect()
	c.over = s.End != nil
	if c.generator.isOver() {
		return
	}
	if !broke {
		c.sentAway.Store(true)
	}
	switch closed := "close_" + strconv.Itoa(int(code)); {
	case s.End != nil && s.End.Last != nil && s.End.Last.Type == protocol.TypeEnded:
		c.refused("ended_" + s.End.Last.Reason)
	case s.End != nil:
		c.refused(closed)
	case s.Lost == client.Forgotten:
		stats.failed(closed)
	case s.Lost == client.Moving:
		stats.moves.Add(1)
	case broke, !connected:
	default:
		if s.Lost == client.Silent {
			stats.failed("silent")
		} else if code != 0 {
			stats.failed(closed)
		}
		stats.lost.Add(1)
	}
}

// refused ends a call that the service has refused for good.
func (c *call) refused(name string) {
	c.over = true
	c.generator.stats.failed(name)
	c.generator.stats.refused.Add(1)
}

// disconnect closes the connection. It reports whether Generator.drop had cut it before.
func (c *call) disconnect() (broke bool) {
	c.mu.Lock()
	if broke = c.conn == nil && c.wire != nil; c.conn != nil {
		_ = c.conn.Close()
	}
	c.conn = nil
	c.mu.Unlock()
	c.wire = nil
	if c.joined {
		c.joined, c.lostAt = false, time.Now()
		c.generator.stats.connected.Add(-1)
	}
	return broke
}

// breakOff cuts the connection like a network failure. It returns false if the call has no connection.
func (c *call) breakOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return false
	}
	_ = c.conn.Close()
	c.conn = nil
	return true
}

// wake interrupts the read of the call, so that the call notices the end of the run.
func (c *call) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.SetReadDeadline(time.Unix(1, 0)) // makes the read fail
	}
}

// send writes a message. It ignores the error, since the next read fails too.
func (c *call) send(m *protocol.ClientMessage) {
	switch m.Type {
	case protocol.TypeJoin:
		c.pushed = 0
		if err := c.join(m); err != nil {
			c.disconnect()
			c.refused("ended_no_credential")
			return
		}
	case protocol.TypeResume:
		c.pushed = *m.Seq
	case protocol.TypePing:
		c.generator.stats.pings.Add(1)
	}
	data := pingText
	if m.Type != protocol.TypePing {
		var err error
		if data, err = json.Marshal(m); err != nil {
			return
		}
	}
	_ = c.wire.send(opText, data)
}

// Most messages are heartbeats. All pings are equal, and all pongs are equal but for the service's time, which calls
// ignore. So pings are not encoded and pongs are not decoded, which saves 8 of 9 allocations.
var (
	pingText   = []byte(`{"type":"ping"}`)
	pongPrefix = []byte(`{"type":"pong",`)
	pong       = client.Message{TokenPrivilege: protocol.TokenPrivilege{Type: protocol.TypePong}}
)

func (c *call) join(m *protocol.ClientMessage) (err error) {
	config := &c.generator.config
	number := strconv.Itoa(c.n + 1)
	for _, service := range config.Services {
		switch service {
		case RTC:
			uid := uint32(c.n + 1)
			m.RTC = &protocol.RTC{Channel: strings.ReplaceAll(config.Channels, "*", number), UID: &uid, Role: session.Publisher}
		case RTM:
			m.RTM = &protocol.User{UserID: number}
		case Chat:
			m.Chat = &protocol.User{UserID: number}
		}
	}
	if config.TTL != 0 {
		seconds := int64(config.TTL / time.Second)
		m.TTL = &seconds
	}
	if config.Credential != nil {
		m.Auth, err = config.Credential(c.n)
	}
	return err
}
