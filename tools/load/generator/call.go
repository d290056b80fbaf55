package generator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// As package client has them.
const (
	minBackoff    = 500 * time.Millisecond
	maxBackoff    = 20 * time.Second
	stableFor     = 5 * time.Second
	answerTimeout = 10 * time.Second
)

// graceOfBeginning is how long a call may be on its way to its first tokens before
// it counts as one without.
const graceOfBeginning = 2 * time.Second

// call is one call.
type call struct {
	generator *Generator
	n         int
	expiresMs atomic.Int64 // a session.UnixMilli by this machine's clock, of the tokens in use; 0: there are none
	began     time.Time    // set before run
	had       atomic.Bool  // tokens, once at least
	sentAway  atomic.Bool  // by the service, or by its absence, once at least

	mu   sync.Mutex
	conn net.Conn // guarded by mu; nil: not connected

	// run's own.
	session, key string
	seq          uint64
	expiresAt    session.UnixSec // by the service's clock
	headStart    time.Duration
	lostAt       time.Time // when the connection was lost; zero: it was not
	joinedAt     time.Time // on the present connection, or the last; zero: never on that one
	broke        bool      // the last connection was broken by drop
	tried        bool      // once, at least
}

// run keeps the call until the generator is over, or the service ends it.
func (c *call) run() {
	defer c.end()
	for attempts := 0; !c.generator.isOver(); {
		moveAt, err := c.connect()
		if !c.joinedAt.IsZero() && time.Since(c.joinedAt) > stableFor {
			attempts = 0
		}
		if !c.broke && !c.generator.isOver() {
			c.sentAway.Store(true)
		}
		switch over, ok := errors.AsType[*overError](err); {
		case c.generator.isOver():
			return
		case ok:
			c.generator.stats.failed(over.name)
			c.generator.stats.refused.Add(1)
			return
		case !moveAt.IsZero():
			c.generator.stats.moves.Add(1)
			c.pause(time.Until(moveAt))
			continue
		case errors.Is(err, errForgotten):
			c.session, c.key, c.seq = "", "", 0 // join afresh; the tokens go on working
		}
		c.pause(backoff(attempts))
		attempts++
	}
}

// backoff is the wait after so many failures in a row.
func backoff(attempts int) time.Duration {
	bound := min(maxBackoff, minBackoff<<min(attempts, 16))
	return rand.N(bound) //nolint:gosec // a spread, not a secret
}

// end counts tokens that ran out with nobody to replace them.
func (c *call) end() {
	c.runsOut(time.Now())
	c.expiresMs.Store(0)
}

// overError says that the call is over by the service's word.
type overError struct{ name string }

func (e *overError) Error() string { return "over: " + e.name }

var errForgotten = errors.New("the service does not know the session")

// pause waits, or less if the generator is over.
func (c *call) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.generator.over:
	}
}

// connect makes one connection and stays on it to its end. With moveAt it says
// when the service wants it to come again.
func (c *call) connect() (moveAt time.Time, err error) {
	g := c.generator
	target := g.targets[c.n%len(g.targets)]
	if c.tried { // as a balancer would that knows nothing of a node's health
		target = g.targets[rand.IntN(len(g.targets))] //nolint:gosec // a spread, not a secret
	}
	c.tried, c.broke, c.joinedAt = true, false, time.Time{}
	raw, err := g.config.dial(c.n, target)
	if err != nil {
		g.stats.notConnected(err)
		return moveAt, err
	}
	defer raw.Close()
	w, err := handshake(raw, target, answerTimeout, &g.stats)
	if err != nil {
		name := "handshake"
		if refused, ok := errors.AsType[*refusedError](err); ok {
			name = refused.name
		}
		g.stats.failed(name)
		return moveAt, err
	}
	c.mu.Lock()
	c.conn = raw
	c.mu.Unlock()
	l := link{call: c, wire: w, pushed: c.seq}
	err = l.run()
	c.mu.Lock()
	c.broke = c.conn == nil
	c.conn = nil
	c.mu.Unlock()
	if l.attached {
		g.stats.connected.Add(-1)
		c.lostAt = time.Now()
	}
	code := w.closedBy
	switch then := code.After(l.last); {
	case then == protocol.JoinAfresh && c.key != "":
		g.stats.failed("close_" + strconv.Itoa(int(code)))
		return moveAt, errForgotten
	case l.ended != "":
		return moveAt, &overError{"ended_" + l.ended}
	case then != protocol.Retry:
		return moveAt, &overError{"close_" + strconv.Itoa(int(code))}
	case !l.moveAt.IsZero():
		return l.moveAt, nil
	case c.broke, g.isOver():
		return moveAt, err
	case code != 0:
		g.stats.failed("close_" + strconv.Itoa(int(code)))
	}
	g.stats.lost.Add(1)
	return moveAt, err
}

// breakOff cuts the connection, as a network does, and reports whether there was
// one.
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

// cut ends the connection because the generator is over.
func (c *call) cut() { c.breakOff() }

// wake has the call look whether the generator is over.
func (c *call) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // the read that follows fails
	}
}

// left is how much life the tokens have that the call holds, if it does.
func (c *call) left(now time.Time) (time.Duration, bool) {
	ms := c.expiresMs.Load()
	return session.UnixMilli(ms).Time().Sub(now), ms != 0
}

// without reports whether the call never had tokens, and is to be missed: it was
// sent away, or has waited for longer than one that has just begun.
func (c *call) without(now time.Time) bool {
	return !c.had.Load() && (c.sentAway.Load() || now.Sub(c.began) > graceOfBeginning)
}

// holds notes the tokens that the call has from now on.
func (c *call) holds(until session.UnixMilli) {
	c.had.Store(true)
	c.expiresMs.Store(int64(until))
}

// runsOut counts tokens that have run out, and returns how much life they had
// left.
func (c *call) runsOut(now time.Time) time.Duration {
	left, holds := c.left(now)
	if holds && left <= 0 {
		c.generator.stats.ranOut.Add(1)
		c.generator.stats.lostMs.Add(-left.Milliseconds())
		c.expiresMs.Store(0)
	}
	return left
}

// greeting is the first message on a connection.
func (c *call) greeting() (protocol.ClientMessage, error) {
	if c.key != "" {
		return protocol.ClientMessage{Type: protocol.TypeResume, Session: c.session, Key: c.key, Seq: &c.seq, ExpiresAt: c.expiresAt}, nil
	}
	config := &c.generator.config
	m := protocol.ClientMessage{Type: protocol.TypeJoin}
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
		var err error
		if m.Auth, err = config.Credential(c.n); err != nil {
			return m, &overError{"credential"}
		}
	}
	return m, nil
}

// writeMessage sends one message.
func (w *wire) writeMessage(m protocol.ClientMessage) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.Type, err)
	}
	return w.send(opText, data)
}
