package generator

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/tools/plan/planner"
)

// link is one connection of a call, from its first message on.
type link struct {
	*call
	wire *wire

	attached  bool
	last      string    // the type of the last message
	ended     string    // why, by the service's word
	moveAt    time.Time // when to connect anew; zero: not so
	pingAt    time.Time // zero: not joined yet
	silentBy  time.Time // when the service must have answered; zero: it owes nothing
	heartbeat time.Duration
	taking    *incoming // what the SDK is taking
	takeAt    time.Time
	waiting   *incoming // what it takes after that
	pushed    uint64    // the highest seq that came
	leaving   bool
}

// incoming is any message of the service; see package protocol for what the
// fields mean.
type incoming struct {
	Type              string            `json:"type"`
	Session           string            `json:"session"`
	Key               string            `json:"key"`
	Resumed           bool              `json:"resumed"`
	Seq               uint64            `json:"seq"`
	Tokens            protocol.Tokens   `json:"tokens"`
	Heartbeat         int64             `json:"heartbeat"`
	RenewBefore       int64             `json:"renewBefore"`
	Now               session.UnixMilli `json:"now"`
	PreviousExpiresAt session.UnixSec   `json:"previousExpiresAt"`
	Attempt           int               `json:"attempt"`
	Cause             string            `json:"cause"`
	AfterMs           int64             `json:"afterMs"`
	Reason            string            `json:"reason"`
	Code              string            `json:"code"`

	at    time.Time // when it came
	first bool      // the call has no other tokens, and uses them from when they came
}

// expiresAt is when the tokens run out, which they do together.
func (m *incoming) expiresAt() session.UnixSec {
	for _, t := range []*protocol.Token{m.Tokens.RTC, m.Tokens.RTM, m.Tokens.Chat} {
		if t != nil {
			return t.ExpiresAt
		}
	}
	return 0
}

// expiresHere is the same by this machine's clock.
func (m *incoming) expiresHere() session.UnixMilli {
	return session.MilliOf(m.at).Add(m.expiresAt().Milli().Sub(m.Now))
}

var errSilent = errors.New("the service does not answer")

// run greets, and stays to the connection's end.
func (l *link) run() error {
	m, err := l.greeting()
	if err != nil {
		l.ended = "no_credential"
		return err
	}
	if err := l.wire.writeMessage(m); err != nil {
		return err
	}
	l.silentBy = time.Now().Add(answerTimeout)
	for {
		if err := l.wire.net.SetReadDeadline(l.next()); err != nil {
			return err
		}
		if l.generator.isOver() && !l.leaving {
			l.leaving = true
			if err := l.leave(); err != nil {
				return err
			}
			continue
		}
		data, err := l.wire.next()
		switch {
		case err == nil:
			err = l.handle(data)
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = l.due(time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// leave says that the call is over, if it is known to the service.
func (l *link) leave() error {
	l.end() // what becomes of its tokens from now on is nobody's affair
	l.silentBy = time.Now().Add(leaveTimeout)
	l.pingAt, l.taking, l.waiting, l.moveAt = time.Time{}, nil, nil, time.Time{}
	if !l.attached {
		return errSilent
	}
	return l.wire.writeMessage(protocol.ClientMessage{Type: protocol.TypeLeave})
}

// next is when there is something to do next.
func (l *link) next() time.Time {
	var first time.Time
	for _, t := range []time.Time{l.moveAt, l.pingAt, l.silentBy, l.takeAt} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

var errMove = errors.New("the service asked to come again")

// due does what it is time for.
func (l *link) due(now time.Time) error {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case reached(l.silentBy):
		if !l.leaving {
			l.generator.stats.failed("silent")
		}
		return errSilent
	case reached(l.moveAt):
		return errMove
	case reached(l.takeAt):
		return l.take()
	case reached(l.pingAt):
		l.pingAt = now.Add(l.heartbeat)
		if l.silentBy.IsZero() {
			l.silentBy = now.Add(answerTimeout)
		}
		l.generator.stats.pings.Add(1)
		return l.wire.writeMessage(protocol.ClientMessage{Type: protocol.TypePing})
	}
	return nil
}

// handle does what one message asks for.
func (l *link) handle(data []byte) error {
	m := incoming{at: time.Now()}
	if err := json.Unmarshal(data, &m); err != nil {
		l.generator.stats.failed("malformed")
		return err
	}
	if l.last = m.Type; !l.leaving {
		l.silentBy = time.Time{}
	}
	s := &l.generator.stats
	switch m.Type {
	case protocol.TypeJoined:
		l.joined(&m)
		return l.offer(&m)
	case protocol.TypeWillExpire, protocol.TypeDidExpire:
		if m.Attempt > 1 {
			s.repeats.Add(1)
		} else if m.Cause == string(session.CauseSchedule) && m.Type == protocol.TypeWillExpire {
			l.lagged(&m)
		}
		return l.offer(&m)
	case protocol.TypeReconnect:
		l.moveAt = time.Now().Add(time.Duration(m.AfterMs) * time.Millisecond)
		s.failed("reconnect_" + m.Reason)
	case protocol.TypeEnded:
		if !l.leaving {
			l.ended = m.Reason
		}
	case protocol.TypeError:
		s.failed(m.Code)
	}
	return nil // pong, and messages of a newer service
}

// joined notes the session.
func (l *link) joined(m *incoming) {
	now, s := time.Now(), &l.generator.stats
	l.joinedAt = now
	if !l.attached {
		l.attached = true
		s.connected.Add(1)
	}
	if m.Resumed {
		s.resumes.Add(1)
	} else {
		s.joins.Add(1)
		if l.session != m.Session { // a new session counts from 1
			l.seq, l.pushed = 0, 0
		}
	}
	if !l.lostAt.IsZero() {
		s.away.add(now.Sub(l.lostAt))
		l.lostAt = time.Time{}
	}
	l.session, l.key = m.Session, m.Key
	l.headStart = time.Duration(m.RenewBefore) * time.Second
	l.heartbeat = time.Duration(max(1, m.Heartbeat)) * time.Second
	l.pingAt = now.Add(l.heartbeat)
}

// lagged notes how late a push came, by the rule of renewals: from when it was
// due to when the service wrote it, by the service's clock, and on to here, by as
// much as its way was longer than the shortest seen.
func (l *link) lagged(m *incoming) {
	lead := m.Now.Sub(session.MilliOf(time.Now())).Milliseconds()
	g := l.generator
	for {
		most := g.leadMs.Load()
		if lead <= most || g.leadMs.CompareAndSwap(most, lead) {
			break
		}
	}
	onItsWay := time.Duration(g.leadMs.Load()-lead) * time.Millisecond
	due := m.PreviousExpiresAt.Time().Add(-l.headStart - planner.Jitter(l.session, l.headStart))
	g.stats.lag.add(m.Now.Time().Sub(due) + onItsWay)
}

// offer hands a bundle to the SDK, as it were, which takes one after the other: the
// newest waits for the one that it is at.
func (l *link) offer(m *incoming) error {
	if m.Seq < l.pushed || m.Seq < l.seq {
		l.generator.stats.seqFell.Add(1)
		return nil
	}
	l.pushed = m.Seq
	if l.expiresMs.Load() == 0 && !l.leaving {
		m.first = true
		l.holds(m.expiresHere())
	}
	switch {
	case l.taking == nil:
		return l.begin(m)
	case m.Seq > l.taking.Seq:
		l.waiting = m
	}
	return nil // a repetition of what it is at
}

// begin has the SDK take a bundle.
func (l *link) begin(m *incoming) error {
	l.taking, l.takeAt = m, time.Now().Add(l.generator.config.AckDelay)
	if l.generator.config.AckDelay == 0 {
		return l.take()
	}
	return nil
}

// take is the SDK's acceptance.
func (l *link) take() error {
	m := l.taking
	l.taking, l.takeAt = nil, time.Time{}
	if m == nil || l.leaving {
		return nil
	}
	if m.Seq > l.seq {
		l.seq, l.expiresAt = m.Seq, m.expiresAt()
		if !m.first {
			l.replace(m)
		}
	}
	if err := l.wire.writeMessage(protocol.ClientMessage{Type: protocol.TypeAck, Seq: &m.Seq}); err != nil {
		return err
	}
	if next := l.waiting; next != nil {
		l.waiting = nil
		return l.begin(next)
	}
	return nil
}

// replace has the call use other tokens than before. Those that ran out while the
// SDK was taking them help nobody.
func (l *link) replace(m *incoming) {
	now := time.Now()
	if m.expiresHere() <= session.MilliOf(now) {
		return
	}
	s := &l.generator.stats
	held := l.expiresMs.Load() != 0
	switch left := l.runsOut(now); {
	case !held || left <= 0:
	case m.Type == protocol.TypeWillExpire:
		s.renewals.Add(1)
		s.margin.add(left)
	default:
		s.backWith.add(left)
	}
	l.holds(m.expiresHere())
}
