package generator

import (
	"bytes"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// graceOfBeginning is how long a new call may wait for tokens before it counts as a call without tokens.
const graceOfBeginning = 2 * time.Second

// received counts a message of the service, and passes it to the client's state machine.
func (c *call) received(data []byte) client.Step {
	now, s := time.Now(), &c.generator.stats
	if bytes.HasPrefix(data, pongPrefix) {
		return c.machine.Received(now, &pong)
	}
	m, err := client.Decode(data)
	if err != nil {
		s.failed("malformed")
		return c.machine.Closed(now, 0)
	}
	before := c.machine.State()
	step := c.machine.Received(now, m)
	switch {
	case before == client.Greeting && c.machine.State() == client.Live:
		c.back(m, now)
	case m.Type == protocol.TypeReconnect:
		s.asked(m.Reason)
	case m.Type == protocol.TypeError:
		s.failed(string(m.Code))
	case m.Expires.IsZero(): // no bundle
	case m.Attempt > 1:
		s.repeats.Add(1)
	case m.Cause == string(session.CauseSchedule) && m.Type == protocol.TypeWillExpire:
		c.lagged(m)
	}
	if !m.Expires.IsZero() {
		c.offered(m)
	}
	return step
}

// back counts a join or a resume.
func (c *call) back(m *client.Message, now time.Time) {
	s := &c.generator.stats
	c.joined = true
	s.connected.Add(1)
	if m.Resumed {
		s.resumes.Add(1)
	} else {
		s.joins.Add(1)
	}
	if !c.lostAt.IsZero() {
		s.away.add(now.Sub(c.lostAt))
		c.lostAt = time.Time{}
	}
	c.headStart = time.Duration(m.RenewBefore) * time.Second
}

// lagged records how late a push came. This is the sum of two times: from the due time of the renewal until the service
// wrote the push, by the clock of the service, and the part of the network's delay that exceeds the shortest delay so
// far.
func (c *call) lagged(m *client.Message) {
	lead := m.Now.Sub(session.MilliOf(time.Now())).Milliseconds()
	g := c.generator
	for {
		most := g.leadMs.Load()
		if lead <= most || g.leadMs.CompareAndSwap(most, lead) {
			break
		}
	}
	onItsWay := time.Duration(g.leadMs.Load()-lead) * time.Millisecond
	due := m.PreviousExpiresAt.Time().Add(-c.headStart - session.Jitter(m.Session, c.headStart))
	g.stats.lag.add(m.Now.Time().Sub(due) + onItsWay)
}

// offered stores a bundle that has arrived. A call without tokens uses it at once, before the SDK has accepted it.
func (c *call) offered(m *client.Message) {
	if m.Seq < c.pushed {
		c.generator.stats.seqFell.Add(1)
		return
	}
	c.pushed = m.Seq
	if c.expiresMs.Load() == 0 {
		c.first = m
		c.holds(m.Expires)
	}
}

// take lets the simulated SDK accept a bundle, and acks it.
func (c *call) take() client.Step {
	m := c.taking
	c.taking = nil
	if m == c.first {
		c.first = nil
	} else {
		c.replace(m)
	}
	return c.machine.Applied(nil)
}

// replace makes the call use the tokens of m, unless they have expired while the SDK was accepting them.
func (c *call) replace(m *client.Message) {
	now := time.Now()
	if !m.Expires.After(now) {
		return
	}
	s := &c.generator.stats
	held := c.expiresMs.Load() != 0
	switch left := c.runsOut(now); {
	case !held || left <= 0:
	case m.Type == protocol.TypeWillExpire:
		s.renewals.Add(1)
		s.margin.add(left)
	default:
		s.backWith.add(left)
	}
	c.holds(m.Expires)
}

// holds stores when the tokens of the call expire.
func (c *call) holds(until time.Time) {
	c.had.Store(true)
	c.expiresMs.Store(int64(session.MilliOf(until)))
}

// left returns the remaining lifetime of the call's tokens, or false if it has none.
func (c *call) left(now time.Time) (time.Duration, bool) {
	ms := c.expiresMs.Load()
	return session.UnixMilli(ms).Time().Sub(now), ms != 0
}

// without reports whether the call should have had tokens by now but never had any: the service told it to retry later,
// or it has waited for longer than graceOfBeginning.
func (c *call) without(now time.Time) bool {
	return !c.had.Load() && (c.sentAway.Load() || now.Sub(c.began) > graceOfBeginning)
}

// runsOut returns the remaining lifetime of the call's tokens. It counts tokens that have expired.
func (c *call) runsOut(now time.Time) time.Duration {
	left, holds := c.left(now)
	if holds && left <= 0 {
		c.generator.stats.ranOut.Add(1)
		c.generator.stats.lostMs.Add(-left.Milliseconds())
		c.expiresMs.Store(0)
	}
	return left
}

// end counts tokens that have expired by the end of the call.
func (c *call) end() {
	c.runsOut(time.Now())
	c.expiresMs.Store(0)
}
