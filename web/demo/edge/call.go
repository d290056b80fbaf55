package edge

import "time"

// Call is one client's stay in one leg, from its admission on. Once it has ended
// it stays ended: to go on the client joins anew. Safe for concurrent use.
type Call struct {
	edge    *Edge
	who     identity
	history *history
	notify  func(Event)
	ended   func()
	events  mailbox // nil for a call that came over the line protocol

	// All below is guarded by edge.mu.
	state   state
	token   string
	granted grant
	warned  bool        // will-expire has been sent for this token
	timer   *time.Timer // fires at the next thing to do; nil before the first
}

// state is where a call is in its life:
//
//	inCall ──token runs out──► dropped ──leave, break, or another join──► left
//	   └──────leave, break, or the same user elsewhere────────────────────►┘
type state int

const (
	inCall  state = iota
	dropped       // thrown out for its token
	left
)

// Events gives the call's events. A reader who falls 64 behind loses the oldest.
// The channel is closed when the call has ended; this alone is no event: a
// client whose token ran out in silence would not have noticed.
func (c *Call) Events() <-chan Event { return c.events }

// Renew replaces the token, or returns an *Error and leaves the call as it was.
func (c *Call) Renew(token string) error {
	if refusal := c.renew(token, nil); refusal != nil {
		return refusal
	}
	return nil
}

// Leave hangs up. It is an *Error to leave what was left before, but not to
// leave after a drop, which is how a client says that it will not come back.
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

// Break ends the call as a broken media connection does: see "What counts".
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

// InCall reports whether the call goes on.
func (c *Call) InCall() bool {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	c.settle(time.Now())
	return c.state == inCall
}

// Publishing reports whether the client may send audio, video and data: its
// token is a publisher's. Always false outside RTC.
func (c *Call) Publishing() bool {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	c.settle(now)
	return c.publishing(now)
}

// renew does the work of Renew. accepted is called under edge.mu, before any
// event that the new token brings about.
func (c *Call) renew(token string, accepted func(publish bool)) *Error {
	e := c.edge
	granted, refusal := e.keyring().verify(token, c.who)

	e.mu.Lock()
	defer e.unlock()
	now := time.Now()
	c.settle(now)
	if c.state == left {
		return refuse(CodeNotJoined, "not in a call") // not counted: the client was done
	}
	same := c.who.leg == RTM && token == c.token // RTM's SDK ignores it
	switch {
	case c.state == dropped:
		refusal = refuse(CodeNotJoined, "the token ran out and the call with it: join again")
	case same:
		refusal = nil
	case refusal == nil:
		refusal = granted.runOut(now)
	case refusal.Code == CodeInvalidAppID:
		// The app was settled by the join; a token of another is simply wrong.
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

// From here on the caller holds edge.mu.

func (c *Call) publishing(now time.Time) bool {
	return c.state == inCall && c.who.leg == RTC && c.granted.publishing(now)
}

// arm sends the warning if it is due, and sets the timer for what comes next.
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
	// The wall clock decides, the timer only wakes: should it come early by the
	// wall clock, arm sets it again.
	if c.timer == nil {
		c.timer = time.AfterFunc(next.Sub(now), c.tick)
	} else {
		c.timer.Reset(next.Sub(now))
	}
}

// tick is the timer's function, and the only one here that takes the lock. One
// that comes late, after a renewal or the end, finds nothing to do.
func (c *Call) tick() {
	c.edge.mu.Lock()
	defer c.edge.unlock()
	now := time.Now()
	if c.settle(now); c.state == inCall {
		c.arm(now)
	}
}

// settle drops the call if its time is over. Every operation calls it first, so
// that what they see does not hang on how punctual the timer is.
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

// leave ends the call, or the wait after its drop, by the client's wish.
func (c *Call) leave(now time.Time) {
	if c.state == left {
		return
	}
	c.edge.note("left", c.who)
	c.history.left(now, c.state)
	c.finish(left)
}

// giveWay ends the call because its user joins anew. The history goes on with
// the new call, which also closes a loss.
func (c *Call) giveWay(now time.Time) {
	if c.state == inCall {
		reason := ReasonSameUserLogin
		if c.who.leg == RTC {
			reason = ReasonUIDConflict
		}
		c.edge.note("thrown out", c.who, "reason", reason)
		c.history.left(now, inCall)
		c.notify(Event{Name: StateChange, Leg: c.who.leg, Reason: reason})
	}
	c.finish(left)
}

// finish moves to a state after which nothing happens by itself.
func (c *Call) finish(to state) {
	was := c.state
	c.state = to
	c.timer.Stop()
	if was == inCall && c.ended != nil {
		c.ended()
	}
}
