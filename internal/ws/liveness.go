package ws

import (
	"context"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// awaitMessage begins the time that the client has for its next message.
func (c *conn) awaitMessage() {
	now := c.hub.now()
	c.heard.Store(int64(now))
	c.deadline.Store(int64(now + silence*c.hub.config.Heartbeat))
}

// How many heartbeats a client may send no message: if it does not answer pings, and if it
// does. Browsers answer pings for a page whose timers they run once a minute only.
const (
	silence        = 2
	answeredSilent = 4
)

// checkLiveness pings a client that has sent nothing for 1.25 heartbeats, and closes the
// connection after the deadline for its next message.
func (c *conn) checkLiveness(now time.Duration) {
	heartbeat, by := c.hub.config.Heartbeat, time.Duration(c.deadline.Load())
	switch {
	case now >= by && c.attached.Load():
		_ = c.close(protocol.CloseLost, "no heartbeat", nil)
	case now >= by:
		_ = c.close(protocol.CloseNoJoin, "no join", protocol.FromError(session.Errorf(session.CodeBadRequest,
			"no join or resume within %s of connecting", joinTimeout)))
	case now >= by-heartbeat*3/4 && c.attached.Load() && c.probing.CompareAndSwap(false, true):
		c.inBackground(func() { c.probe(by - now) })
	}
}

// probe pings the client. If it answers within timeout, its deadline moves.
func (c *conn) probe(timeout time.Duration) {
	defer c.probing.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if c.socket.Ping(ctx) != nil {
		return
	}
	heartbeat, by := c.hub.config.Heartbeat, c.deadline.Load()
	longer := min(c.hub.now()+silence*heartbeat, time.Duration(c.heard.Load())+answeredSilent*heartbeat)
	if by < int64(longer) {
		c.deadline.CompareAndSwap(by, int64(longer)) // unless it has sent something meanwhile
	}
}
