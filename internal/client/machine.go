package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// State is where a client stands; the package comment has the transitions.
type State uint8

// States.
const (
	Waiting    State = iota // there is no connection; the next attempt has its time
	Connecting              // a WebSocket is being opened
	Greeting                // join or resume was sent
	Live                    // joined came
	Leaving                 // leave was sent
	Ended                   // for good
)

// Step is what the caller does after an event, in the order of the fields.
type Step struct {
	Drop    bool                    // close the connection, or give up opening it; no Closed follows
	Lost    Loss                    // why there is no connection any more; Next says when to try again
	Connect bool                    // open a WebSocket, then call Opened or Closed
	Send    *protocol.ClientMessage // a message; of a join the type alone: the caller adds the identity and the credential
	Apply   *Message                // a bundle for the app, by its Action; call Applied when the SDKs took or refused it
	End     *End                    // the client is done
}

// Loss is why a connection was lost.
type Loss string

// Losses.
const (
	Broken    Loss = "broken"    // closed, or not opened
	Silent    Loss = "silent"    // the service did not answer, or the process stood still meanwhile
	Moving    Loss = "moving"    // the service asked to connect again
	Forgotten Loss = "forgotten" // the service does not know the session: the client joins afresh
)

// ActionJoin is the action of the first bundle, until the app took one: there is no call
// yet. Pushes have it in place of protocol.ActionRenew and protocol.ActionRejoin.
const ActionJoin = "join"

// End is why a client is done.
type End struct {
	Left bool               // the call is over by Leave
	Code protocol.CloseCode // that the service closed with
	Last *Message           // the service's last message if it was an error or ended; else nil
	// Unheard is set if the service may not have heard of Leave: what a resume would say.
	// The caller leaves over HTTP.
	Unheard *protocol.ClientMessage
}

// ErrSilent makes Applied send neither ack nor nack, as for an SDK that hangs: the
// service pushes the bundle again.
var ErrSilent = errors.New("no answer")

// What the protocol asks of a client; docs/build/protocol.md, "What a client owes".
const (
	MinBackoff     = 500 * time.Millisecond // at most, after the first failure; each further one in a row doubles it
	maxBackoff     = 20 * time.Second
	stableFor      = 5 * time.Second  // of being joined, and the backoff begins anew
	AnswerTimeout  = 10 * time.Second // for the connection, for joined, and at most for an answer to a ping
	leastPatience  = 2 * time.Second  // with the answer to a ping
	leaveTimeout   = 5 * time.Second  // to tell the service of Leave
	mostLate       = 5 * time.Second  // for a deadline; a later one says that the process stood still
	usualHeartbeat = 25 * time.Second // of a service that names none
	maxReason      = 256              // bytes that a nack says why; the service keeps no more, and refuses messages over protocol.MaxMessage
)

// Patience returns how long a client waits for an answer to a ping, which may be any
// message, before it takes the connection for dead. Clients with short tokens have short
// heartbeats, and little time to connect again.
func Patience(heartbeat time.Duration) time.Duration {
	return min(AnswerTimeout, max(leastPatience, 2*heartbeat))
}

// Machine is a client without I/O: it is told the time and what happened, and answers
// with the Step that the protocol asks for. It is not safe for concurrent use.
type Machine struct {
	state  State
	spread func(time.Duration) time.Duration

	session, key string
	seq          uint64          // newest bundle of the session that the app took
	asked        uint64          // seq when a renewal was asked for
	expiresAt    session.UnixSec // of the tokens that the app took, by the service's clock; 0: none
	expires      time.Time       // the same, by the caller's clock
	renewBefore  time.Duration
	heartbeat    time.Duration
	failures     int // in a row, of connections

	due      time.Time // Waiting: the next attempt. Greeting, Live: the answer that the service owes
	pingAt   time.Time
	moveAt   time.Time // named by reconnect
	leaveBy  time.Time // Leave was called, and is given up then
	joinedAt time.Time // on this connection

	applying *Message // the app is taking it
	waiting  *Message // for the app, the newest that came meanwhile
	last     *Message // of this connection, if it is an error or ended
}

// New returns a Machine that connects at once. spread draws a span between 0 and its
// argument for the backoff: Spread, or what is to be the same each time.
func New(now time.Time, spread func(time.Duration) time.Duration) Machine {
	return Machine{spread: spread, due: now}
}

// Spread draws a span for the backoff at random, so that clients that lost a node together
// do not come back together.
func Spread(bound time.Duration) time.Duration {
	return rand.N(bound) //nolint:gosec // not a secret
}

// State returns where the client stands.
func (m *Machine) State() State { return m.state }

// Session returns the id of the session; empty before the first joined.
func (m *Machine) Session() string { return m.session }

// Joins reports whether the next connection begins with a join, which wants a
// credential, and not with a resume.
func (m *Machine) Joins() bool { return m.key == "" }

// ExpiresAt returns when the tokens expire that the app took; 0 if it took none.
func (m *Machine) ExpiresAt() session.UnixSec { return m.expiresAt }

// Next returns when Wake is to be called; zero: not before another event.
func (m *Machine) Next() time.Time {
	var first time.Time
	for _, t := range [...]time.Time{m.due, m.pingAt, m.moveAt, m.leaveBy} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// Wake does what is due.
func (m *Machine) Wake(now time.Time) Step {
	reached := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case reached(m.leaveBy):
		return m.end(End{Left: true, Unheard: m.resume()})
	case m.state == Waiting && reached(m.due):
		m.state, m.due = Connecting, time.Time{}
		return Step{Connect: true}
	case m.state == Greeting && reached(m.due), m.state == Live && reached(m.due):
		return m.lose(now, Silent)
	case m.state != Waiting && reached(m.moveAt):
		return m.lose(now, Moving)
	case reached(m.pingAt):
		m.pingAt = now.Add(m.heartbeat)
		if m.due.IsZero() { // the next ping does not put off the deadline of the one before
			m.due = now.Add(Patience(m.heartbeat))
		}
		return send(protocol.ClientMessage{Type: protocol.TypePing})
	}
	return Step{}
}

// CheckLate is for a caller that may stand still, such as a process that is stopped: it gives
// the connection up if one of its deadlines passed more than mostLate ago. The messages that
// wait in it may be as old as that, with old times and with tokens that have expired. The
// next connection begins with the service's time and with valid tokens.
func (m *Machine) CheckLate(now time.Time) Step {
	next := m.Next()
	if (m.state != Greeting && m.state != Live) || next.IsZero() || now.Sub(next) <= mostLate {
		return Step{}
	}
	return m.lose(now, Silent)
}

// Opened follows Step.Connect: the WebSocket is open.
func (m *Machine) Opened(now time.Time) Step {
	m.state, m.due = Greeting, now.Add(AnswerTimeout)
	if m.key == "" {
		return send(protocol.ClientMessage{Type: protocol.TypeJoin})
	}
	return Step{Send: m.resume()}
}

// resume is the message that takes the session up again; nil if there is none.
func (m *Machine) resume() *protocol.ClientMessage {
	if m.key == "" {
		return nil
	}
	seq := m.seq
	return &protocol.ClientMessage{Type: protocol.TypeResume, Session: m.session, Key: m.key, Seq: &seq, ExpiresAt: m.expiresAt}
}

// Closed says that the connection was closed with a code, or could not be opened; 0 if
// there is no code.
func (m *Machine) Closed(now time.Time, code protocol.CloseCode) Step {
	last := ""
	if m.last != nil {
		last = m.last.Type
	}
	var step Step
	switch then := code.After(last); {
	case m.state == Leaving, last == protocol.TypeEnded && m.last.Reason == string(session.EndLeft):
		end := End{Left: true, Code: code, Last: m.last}
		if last != protocol.TypeEnded {
			end.Unheard = m.resume()
		}
		step = m.end(end)
	case then == protocol.JoinAfresh && m.key != "":
		m.session, m.key, m.seq, m.asked, m.waiting = "", "", 0, 0, nil // the tokens go on working
		step = m.lose(now, Forgotten)
	case then != protocol.Retry:
		step = m.end(End{Code: code, Last: m.last})
	default:
		step = m.lose(now, Broken)
	}
	step.Drop = false
	return step
}

// Received takes a message of the service.
func (m *Machine) Received(now time.Time, msg *Message) Step {
	if m.last = nil; msg.Type == protocol.TypeError || msg.Type == protocol.TypeEnded {
		m.last = msg
	}
	if m.state == Live {
		m.due = time.Time{}
	}
	switch {
	case !msg.complete():
	case msg.Type == protocol.TypeJoined && m.state == Greeting:
		return m.joined(now, msg)
	case (msg.Type == protocol.TypeWillExpire || msg.Type == protocol.TypeDidExpire) && m.state == Live:
		msg.Session = m.session
		return m.offer(now, msg)
	case msg.Type == protocol.TypeReconnect && m.state != Leaving:
		m.moveAt = now.Add(time.Duration(msg.AfterMs) * time.Millisecond)
	}
	return Step{} // pong, too, and messages of a newer service
}

// Applied follows Step.Apply: the app's SDKs took the bundle if err is nil, and else
// refused it.
func (m *Machine) Applied(err error) Step {
	b := m.applying
	m.applying = nil
	same := b.Session == m.session // and not of one that the service forgot meanwhile
	if err == nil {
		m.expiresAt, m.expires = b.ExpiresAt(), b.Expires
		if same {
			m.seq = b.Seq
		}
	}
	var step Step
	if same && m.state == Live && !errors.Is(err, ErrSilent) { // else the next resume says what the app has
		step = answer(b.Seq, err)
	}
	if next := m.waiting; next != nil {
		m.waiting = nil
		step.Apply = m.begin(next)
	}
	return step
}

// Renew asks for fresh tokens, if the service should have pushed some by now: an SDK
// has warned. It does so once for each bundle.
func (m *Machine) Renew(now time.Time) Step {
	if m.state != Live || m.asked == m.seq || m.expires.Sub(now) >= m.renewBefore {
		return Step{}
	}
	m.asked = m.seq
	return send(protocol.ClientMessage{Type: protocol.TypeRenew})
}

// Leave ends the session. Without a connection it waits for one, for leaveTimeout.
func (m *Machine) Leave(now time.Time) Step {
	switch {
	case m.state == Ended || !m.leaveBy.IsZero():
		return Step{}
	case m.key == "" && m.state != Greeting: // there is no session
		return m.end(End{Left: true})
	}
	m.leaveBy = now.Add(leaveTimeout)
	if m.state == Live {
		return m.leave()
	}
	return Step{}
}

func (m *Machine) leave() Step {
	m.state, m.due, m.pingAt, m.moveAt, m.waiting = Leaving, time.Time{}, time.Time{}, time.Time{}, nil
	return send(protocol.ClientMessage{Type: protocol.TypeLeave})
}

// joined takes note of the session and offers its bundle.
func (m *Machine) joined(now time.Time, msg *Message) Step {
	m.state, m.joinedAt, m.due = Live, now, time.Time{}
	m.session, m.key = msg.Session, msg.Key
	if !msg.Resumed { // a new session for a call that may go on
		if msg.Action = protocol.ActionRenew; m.expiresAt != 0 && m.expiresAt.Milli() <= msg.Now {
			msg.Action = protocol.ActionRejoin
		}
	}
	m.renewBefore = time.Duration(msg.RenewBefore) * time.Second
	if m.heartbeat = time.Duration(msg.Heartbeat) * time.Second; m.heartbeat <= 0 {
		m.heartbeat = usualHeartbeat
	}
	m.pingAt = now.Add(m.heartbeat)
	if !m.leaveBy.IsZero() {
		return m.leave()
	}
	return m.offer(now, msg)
}

// offer hands the app a bundle that is newer than what it took, one at a time.
func (m *Machine) offer(now time.Time, b *Message) Step {
	b.Expires = now.Add(b.ExpiresAt().Milli().Sub(b.Now))
	switch {
	case b.Seq < m.seq:
	case b.Seq == m.seq: // the ack was lost
		return answer(b.Seq, nil)
	case m.applying == nil:
		return Step{Apply: m.begin(b)}
	case m.applying.Session != b.Session || m.applying.Seq < b.Seq:
		m.waiting = b
	}
	return Step{}
}

func (m *Machine) begin(b *Message) *Message {
	if m.applying = b; m.expiresAt == 0 {
		b.Action = ActionJoin
	}
	return b
}

// lose gives the connection up and sets the time of the next attempt.
func (m *Machine) lose(now time.Time, why Loss) Step {
	if !m.joinedAt.IsZero() && now.Sub(m.joinedAt) > stableFor {
		m.failures = 0
	}
	m.state = Waiting
	switch {
	case !m.leaveBy.IsZero() && m.key == "": // there is no session to leave
		return m.end(End{Left: true})
	case why == Forgotten:
		m.due = now
	case !m.moveAt.IsZero():
		why, m.due = Moving, m.moveAt
	default:
		m.due = now.Add(m.spread(min(maxBackoff, MinBackoff<<min(m.failures, 16))))
		m.failures++
	}
	m.pingAt, m.moveAt, m.joinedAt, m.last = time.Time{}, time.Time{}, time.Time{}, nil
	return Step{Drop: true, Lost: why}
}

func (m *Machine) end(e End) Step {
	m.state, m.waiting = Ended, nil
	m.due, m.pingAt, m.moveAt, m.leaveBy = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return Step{Drop: true, End: &e}
}

func send(c protocol.ClientMessage) Step { return Step{Send: &c} }

// answer is the ack of a bundle, or its nack.
func answer(seq uint64, refused error) Step {
	if refused == nil {
		return send(protocol.ClientMessage{Type: protocol.TypeAck, Seq: &seq})
	}
	text := refused.Error()
	return send(protocol.ClientMessage{
		Type: protocol.TypeNack, Seq: &seq, Code: "APPLY_FAILED", Message: text[:min(len(text), maxReason)],
	})
}
