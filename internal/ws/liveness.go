package ws

import (
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// awaitMessage sets the deadline for the client's next message, counted from now.
func (c *conn) awaitMessage() {
	now := c.hub.now()
	c.heard.Store(int64(now))
	c.probing.Store(false)
	c.place.deadline.Store(int64(now + silence*c.hub.config.Heartbeat))
}

const (
	// silence is how many heartbeats may pass without a message of the client before its connection is closed.
	silence = 2
	// answeredSilent is used instead of silence if the client answers WebSocket pings. A browser answers pings even for
	// a page in the background, though it runs the page's timers only once a minute.
	answeredSilent = 4
)

// probeAfter returns how long after a client's last message the node pings the client: 1.25 heartbeats, but
// at most 5 s after the heartbeat was due. With the default heartbeat of 50 s, the ping is early enough for a proxy that
// closes connections after 60 s of silence, even if a browser delays the page's own messages.
func probeAfter(heartbeat time.Duration) time.Duration {
	return heartbeat + min(heartbeat/4, 5*time.Second)
}

// probeLead returns how long before the deadline for a client's next message the node pings the client.
func probeLead(heartbeat time.Duration) time.Duration {
	return silence*heartbeat - probeAfter(heartbeat)
}

// ping is a ping frame without a payload. The WebSocket library's function Ping is not used, since it would need a
// goroutine that waits for the pong, and 208 bytes of memory for each connection.
var ping = []byte{pingFrame, 0}

// checkLiveness pings a client that has sent no message for probeAfter, and closes its connection once the
// deadline for the next message has passed.
func (c *conn) checkLiveness(now time.Duration) {
	heartbeat, by := c.hub.config.Heartbeat, time.Duration(c.place.deadline.Load())
	switch {
	case now >= by && c.attached.Load():
		c.closeSoon(protocol.CloseLost, "no heartbeat", nil)
	case now >= by:
		c.closeSoon(protocol.CloseNoJoin, "no join", protocol.FromError(session.Errorf(session.CodeBadRequest,
			"no join or resume within %s of connecting", protocol.FirstMessageTimeout)))
	case now >= by-probeLead(heartbeat) && c.attached.Load() && c.probing.CompareAndSwap(false, true):
		c.inBackground(func() { _ = c.send(ping) })
	}
}

// ponged handles a pong. If the node has sent a ping, ponged extends the deadline for the client's next message.
func (c *conn) ponged() {
	if !c.probing.CompareAndSwap(true, false) {
		return
	}
	heartbeat, by := c.hub.config.Heartbeat, c.place.deadline.Load()
	longer := min(c.hub.now()+silence*heartbeat, time.Duration(c.heard.Load())+answeredSilent*heartbeat)
	if by < int64(longer) {
		c.place.deadline.CompareAndSwap(by, int64(longer)) // no effect if a message has changed the deadline meanwhile
	}
}
