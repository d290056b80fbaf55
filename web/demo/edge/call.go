package edge

import "time"

// Call is one client's use of one Agora service (a leg), such as its call in an RTC channel, from its admission on.
// After it has ended, the client must join again, which makes a new Call. A Call is safe for concurrent use.
type Call struct {
	edge    *Edge
	who     identity
	history *history
	notify  func(Event)
	ended   func()
	events  mailbox // nil if the call came over the line protocol

	// These are guarded by edge.mu.
	state   state
	token   string
	granted grant
	warned  bool        // whether WillExpire was sent for this token
	timer   *time.Timer // timer of the next warning or drop; nil before the first
}

// state is where a call is in its life:
//
//	inCall ──token runs out──► dropped ──leave, break, or another join──► left
//	   └──────leave, break, or the same user elsewhere────────────────────►┘
type state int

const (
	inCall  state = iota
	dropped       // the simulated edge has ended the call because its token expired
	left
)

// Events returns the call's events. A reader that falls 64 events behind loses the oldest. The channel is closed when
// the call has ended. Agora has no counterpart to this close: there, a client does not notice when its token expires
// silently.
func (c *Call) Events() <-chan Event { return c.events }

// Renew replaces the token, or returns an *Error without changing the call.
func (c *Call) Renew(token string) error {
	if refusal := c.renew(token, nil); refusal != nil {
		return refusal
	}
	return nil
}

// Leave ends the call. A second Leave returns an *Error. After a drop, Leave returns nil: by leaving, the client says
// that it will not join the call again.
func (c *Call) Leave() error {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	c.settle(now)
	if c.state == left {
		return refuse(CodeNotJoined, "not in a call")
	}
	c.leave(now)
	return nil
}

// Break ends the call like a broken media connection; see "What counts" in the package documentation.
func (c *Call) Break() {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	c.settle(now)
	if c.state == left {
		return
	}
	c.edge.note("connection broke", c.who)
	c.history.broke(now, c.state)
	c.finish(left)
}

// InCall reports whether the call has not ended.
func (c *Call) InCall() bool {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	c.settle(time.Now())
	return c.state == inCall
}

// Publishing reports whether the client may send audio, video and data because it has a publisher's token. Outside RTC
// it is always false.
func (c *Call) Publishing() bool {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	c.settle(now)
	return c.publishing(now)
}

// renew does the work of Renew. It calls the function `accepted` with edge.mu held, before any event that the new token
// causes.
func (c *Call) renew(token string, accepted func(publish bool)) *Error {
	e := c.edge
	granted, refusal := e.keyring().verify(token, c.who)

	e.mu.Lock()
	defer e.unlock()
	now := time.Now()
	c.settle(now)
	if c.state == left {
		return refuse(CodeNotJoined, "not in a call") // not counted as a refused renewal, since the client had left the call itself
	}
	same := c.who.leg == RTM && token == c.token // RTM's SDK ignores a token that is already in use
	switch {
	case c.state == dropped:
		refusal = refuse(CodeNotJoined, "the token ran out and the call with it: join again")
	case same:
		refusal = nil
	case refusal == nil:
		refusal = granted.runOut(now)
	case refusal.Code == CodeInvalidAppID:
		// The join has checked the App ID. In a renewal, a token for another app counts as invalid.
		refusal = invalid("the token is for another app")
	}
	if refusal != nil {
		c.history.renewalsRefused++
		e.note("renewal refused", c.who, "code", refusal.Code, "error", refusal.Text)
		return refusal
	}
	if !same {
		margin := c.granted.ends().Sub(now)
		c.history.renewed(margin)
		c.token, c.granted, c.warned = token, granted, false
		e.note("renewed", c.who, "ends_at", granted.ends().Unix(), "margin_seconds", margin.Seconds())
	}
	if accepted != nil {
		accepted(c.publishing(now))
	}
	if !same {
		c.arm(now)
	}
	return nil
}

// The caller of the functions below holds edge.mu.

func (c *Call) publishing(now time.Time) bool {
	return c.state == inCall && c.who.leg == RTC && c.granted.publishing(now)
}

// arm sends the warning if the time for it has come, and sets the timer for the next warning or drop.
func (c *Call) arm(now time.Time) {
	next := c.granted.ends()
	if !c.granted.silent() && !c.warned {
		if warnAt := next.Add(-c.edge.warnBefore); now.Before(warnAt) {
			next = warnAt
		} else {
			c.warned = true
			c.edge.note(WillExpire, c.who)
			c.notify(Event{Name: WillExpire, Leg: c.who.leg})
		}
	}
	// The wall clock decides whether a token has expired. If the timer fires too early by that clock, tick calls arm
	// again, which sets the timer again.
	if c.timer == nil {
		c.timer = time.AfterFunc(next.Sub(now), c.tick)
	} else {
		c.timer.Reset(next.Sub(now))
	}
}

// tick runs when the timer fires. It locks edge.mu itself. If the token was renewed or the call ended while it
// waited for the lock, tick drops nothing.
func (c *Call) tick() {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	if c.settle(now); c.state == inCall {
		c.arm(now)
	}
}

// settle drops the call if its token has expired. Every operation calls it first, so that no result depends on the
// accuracy of the timer.
func (c *Call) settle(now time.Time) {
	if c.state != inCall || now.Before(c.granted.ends()) {
		return
	}
	c.history.dropped(c.granted.ends(), c.granted.silent())
	c.edge.note("dropped", c.who, "silent", c.granted.silent())
	if !c.granted.silent() {
		c.notify(Event{Name: DidExpire, Leg: c.who.leg})
	}
	c.finish(dropped)
}

// leave ends the call for its client. After a drop, the time that counts as lost ends.
func (c *Call) leave(now time.Time) {
	if c.state == left {
		return
	}
	c.edge.note("left", c.who)
	c.history.left(now, c.state)
	c.finish(left)
}

// giveWay ends the call because its user joins again. The new call continues the history of this one. If this call was
// dropped, the time that counts as lost ends with that join.
func (c *Call) giveWay(now time.Time) {
	if c.state == inCall {
		reason := ReasonSameUserLogin
		if c.who.leg == RTC {
			reason = ReasonUIDBanned
		}
		c.edge.note("thrown out", c.who, "reason", reason)
		c.history.left(now, inCall)
		c.notify(Event{Name: StateChange, Leg: c.who.leg, Reason: reason})
	}
	c.finish(left)
}

// finish sets the final state and stops the timer.
func (c *Call) finish(to state) {
	was := c.state
	c.state = to
	c.timer.Stop()
	if was == inCall && c.ended != nil {
		c.ended()
	}
}
