package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// awaitMessage begins the time that the client has for its next message.
func (c *conn) awaitMessage() {
	now := c.hub.now()
	c.heard.Store(int64(now))
	c.probing.Store(false)
	c.place.deadline.Store(int64(now + silence*c.hub.config.Heartbeat))
}

// How many heartbeats a client may send no message: if it does not answer pings, and if it
// does. Browsers answer pings for a page whose timers they run once a minute only.
const (
	silence        = 2
	answeredSilent = 4
)

// probeAfter is how long after its last message a client is sent a ping: 1.25 heartbeats, but
// not more than 5 s after a ping of its own is missing, so that a proxy that cuts silent
// connections after 60 s sees something of a page whose timers are held up.
func probeAfter(heartbeat time.Duration) time.Duration {
	return heartbeat + min(heartbeat/4, 5*time.Second)
}

// probeLead is how long before its deadline a client is sent a ping.
func probeLead(heartbeat time.Duration) time.Duration {
	return silence*heartbeat - probeAfter(heartbeat)
}

// ping is a ping without a payload. The library's own Ping waits for the pong in a goroutine,
// and allocates 208 bytes that stay.
var ping = []byte{pingFrame, 0}

// checkLiveness pings a client that has sent nothing for probeAfter, and closes the
// connection after the deadline for its next message.
func (c *conn) checkLiveness(now time.Duration) {
	heartbeat, by := c.hub.config.Heartbeat, time.Duration(c.place.deadline.Load())
	switch {
	case now >= by && c.attached.Load():
		c.closeSoon(protocol.CloseLost, "no heartbeat", nil)
	case now >= by:
		c.closeSoon(protocol.CloseNoJoin, "no join", protocol.FromError(session.Errorf(session.CodeBadRequest,
			"no join or resume within %s of connecting", joinTimeout)))
	case now >= by-probeLead(heartbeat) && c.attached.Load() && c.probing.CompareAndSwap(false, true):
		c.inBackground(func() { _ = c.send(ping) })
	}
}

// ponged is called when a pong has come. If a ping waits for it, the client has longer to
// send its next message.
func (c *conn) ponged() {
	if !c.probing.CompareAndSwap(true, false) {
		return
	}
	heartbeat, by := c.hub.config.Heartbeat, c.place.deadline.Load()
	longer := min(c.hub.now()+silence*heartbeat, time.Duration(c.heard.Load())+answeredSilent*heartbeat)
	if by < int64(longer) {
		c.place.deadline.CompareAndSwap(by, int64(longer)) // unless it has sent something meanwhile
	}
}
