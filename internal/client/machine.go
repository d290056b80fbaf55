package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// State is the state of a client; the package comment has the transitions.
type State uint8

// States.
const (
	Waiting    State = iota // no connection, until the time of the next attempt
	Connecting              // a WebSocket is being opened
	Greeting                // join or resume was sent
	Live                    // joined was received
	Leaving                 // leave was sent
	Ended                   // finished for good
)

// Step is what the caller must do after an event, in the order of the fields.
type Step struct {
	Drop    bool                    // close the connection, or stop opening it; no call of Closed follows
	Lost    Loss                    // why the connection was lost; Next returns the time of the next attempt
	Connect bool                    // open a WebSocket, then call Opened or Closed
	Send    *protocol.ClientMessage // a message; a join has the type only: the caller adds the identity and the credential
	Apply   *Message                // a bundle for the app, see its Action; call Applied when the SDKs have accepted or refused it
	End     *End                    // the client has ended
}

// Loss is why a connection was lost.
type Loss string

// Losses.
const (
	Broken    Loss = "broken"    // it was closed, or could not be opened
	Silent    Loss = "silent"    // the service did not answer, or this process was suspended
	Moving    Loss = "moving"    // the service asked the client to connect again
	Forgotten Loss = "forgotten" // the service does not know the session: the client joins afresh
)

// ActionJoin is the action of a bundle while the app has applied none, so that there is no
// call yet. It replaces protocol.ActionRenew and protocol.ActionRejoin.
const ActionJoin = "join"

// End is why a client has ended.
type End struct {
	Left bool               // Leave was called
	Code protocol.CloseCode // close code of the service
	Last *Message           // the service's last message if it was an error or ended; else nil
	// Unheard is set if the service may not have received the leave message. It has the
	// session, key and seq with which the caller must leave over HTTP.
	Unheard *protocol.ClientMessage
}

// ErrSilent makes Applied send neither ack nor nack, for an SDK that does not answer. The
// service then pushes the bundle again.
var ErrSilent = errors.New("no answer")

// What the protocol asks of a client; docs/build/protocol.md, "What a client owes".
const (
	MinBackoff     = 500 * time.Millisecond // upper bound of the pause after the first failure; it doubles with each consecutive one
	maxBackoff     = 20 * time.Second
	stableFor      = 5 * time.Second  // after being joined for so long, the backoff starts again at MinBackoff
	AnswerTimeout  = 10 * time.Second // for opening the connection, for joined, and the maximum for the answer to a ping
	leastPatience  = 2 * time.Second  // minimum timeout for the answer to a ping
	leaveTimeout   = 5 * time.Second  // for the leave message
	mostLate       = 5 * time.Second  // if a deadline is missed by more, the process was suspended
	usualHeartbeat = 25 * time.Second // if the service names none
	maxReason      = 256              // maximum length of a nack's message in bytes; the service keeps no more
)

// Patience returns the timeout for the answer to a ping. Any message counts as an answer.
// After it the connection counts as dead. It depends on the heartbeat, since clients with
// short-lived tokens have short heartbeats and little time to connect again.
func Patience(heartbeat time.Duration) time.Duration {
	return min(AnswerTimeout, max(leastPatience, 2*heartbeat))
}

// Machine is a client without I/O. The caller passes each event with its time, and does the
// Step that the Machine returns. It is not safe for concurrent use.
type Machine struct {
	state  State
	spread func(time.Duration) time.Duration

	session, key string
	seq          uint64          // of the newest bundle of this session that the app has applied
	asked        uint64          // value of seq when the app last requested a renewal
	expiresAt    session.UnixSec // of the app's tokens, on the service's clock; 0: it has none
	expires      time.Time       // the same on the caller's clock
	renewBefore  time.Duration
	heartbeat    time.Duration
	failures     int // number of consecutive failed connections

	due      time.Time // in Waiting: the next attempt; in Greeting and Live: the deadline of the service's answer
	pingAt   time.Time
	moveAt   time.Time // from a reconnect message
	leaveBy  time.Time // deadline of the leave message; zero until Leave is called
	joinedAt time.Time // on this connection

	applying *Message // the bundle that the app is applying
	waiting  *Message // the newest bundle that arrived meanwhile
	last     *Message // the last message of this connection if it is an error or ended
}

// New returns a Machine that connects at once. spread returns a random duration from 0 to its
// argument, for the backoff. Spread does so; tests and simulations may pass another.
func New(now time.Time, spread func(time.Duration) time.Duration) Machine {
	return Machine{spread: spread, due: now}
}

// Spread returns a random duration below bound, so that clients that lost a node together do
// not connect again together.
func Spread(bound time.Duration) time.Duration {
	return rand.N(bound) //nolint:gosec // not a secret
}

// State returns the client's state.
func (m *Machine) State() State { return m.state }

// Session returns the id of the session; empty before the first joined.
func (m *Machine) Session() string { return m.session }

// Joins reports whether the next connection begins with a join, which needs a credential, and
// not with a resume.
func (m *Machine) Joins() bool { return m.key == "" }

// ExpiresAt returns when the app's tokens expire; 0 if it has none.
func (m *Machine) ExpiresAt() session.UnixSec { return m.expiresAt }

// Next returns when Wake must be called; zero if not before another event.
func (m *Machine) Next() time.Time {
	var first time.Time
	for _, t := range [...]time.Time{m.due, m.pingAt, m.moveAt, m.leaveBy} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// Wake handles the deadlines that have come.
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
		if m.due.IsZero() { // a later ping does not extend the deadline of an unanswered one
			m.due = now.Add(Patience(m.heartbeat))
		}
		return send(protocol.ClientMessage{Type: protocol.TypePing})
	}
	return Step{}
}

// CheckLate drops the connection if one of its deadlines passed more than mostLate ago, which
// means that the process was suspended. The unread messages of the connection may be equally
// old, with outdated times and expired tokens. The next connection begins with the service's
// current time and with valid tokens.
func (m *Machine) CheckLate(now time.Time) Step {
	next := m.Next()
	if (m.state != Greeting && m.state != Live) || next.IsZero() || now.Sub(next) <= mostLate {
		return Step{}
	}
	return m.lose(now, Silent)
}

// Opened must be called when the WebSocket of Step.Connect is open.
func (m *Machine) Opened(now time.Time) Step {
	m.state, m.due = Greeting, now.Add(AnswerTimeout)
	if m.key == "" {
		return send(protocol.ClientMessage{Type: protocol.TypeJoin})
	}
	return Step{Send: m.resume()}
}

// resume returns the resume message; nil if there is no session.
func (m *Machine) resume() *protocol.ClientMessage {
	if m.key == "" {
		return nil
	}
	seq := m.seq
	return &protocol.ClientMessage{Type: protocol.TypeResume, Session: m.session, Key: m.key, Seq: &seq, ExpiresAt: m.expiresAt}
}

// Closed must be called when the connection was closed with a code, or could not be opened.
// code is 0 if there is none.
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

// Received handles a message of the service.
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
	return Step{} // also for pong, and for messages of a newer service
}

// Applied must be called after Step.Apply: err is nil if the app's SDKs accepted the bundle,
// and says why if they refused it.
func (m *Machine) Applied(err error) Step {
	b := m.applying
	m.applying = nil
	same := b.Session == m.session // false if the service has forgotten that session meanwhile
	if err == nil {
		m.expiresAt, m.expires = b.ExpiresAt(), b.Expires
		if same {
			m.seq = b.Seq
		}
	}
	var step Step
	if same && m.state == Live && !errors.Is(err, ErrSilent) { // else seq of the next resume says it
		step = answer(b.Seq, err)
	}
	if next := m.waiting; next != nil {
		m.waiting = nil
		step.Apply = m.begin(next)
	}
	return step
}

// Renew requests fresh tokens, because an SDK has warned that its tokens expire. It does so
// once for each bundle, and only if the service should have pushed new tokens already.
func (m *Machine) Renew(now time.Time) Step {
	if m.state != Live || m.asked == m.seq || m.expires.Sub(now) >= m.renewBefore {
		return Step{}
	}
	m.asked = m.seq
	return send(protocol.ClientMessage{Type: protocol.TypeRenew})
}

// Leave ends the session. Without a connection it waits up to leaveTimeout for one.
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

// joined stores the session of a joined message and offers its bundle to the app.
func (m *Machine) joined(now time.Time, msg *Message) Step {
	m.state, m.joinedAt, m.due = Live, now, time.Time{}
	m.session, m.key = msg.Session, msg.Key
	if !msg.Resumed { // a new session; the app may already have a call
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

// offer gives a bundle to the app if it is newer than the app's bundle and the app is not
// applying another.
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

// answer returns the ack of a bundle, or its nack if refused is not nil.
func answer(seq uint64, refused error) Step {
	if refused == nil {
		return send(protocol.ClientMessage{Type: protocol.TypeAck, Seq: &seq})
	}
	text := refused.Error()
	return send(protocol.ClientMessage{
		Type: protocol.TypeNack, Seq: &seq, Code: "APPLY_FAILED", Message: text[:min(len(text), maxReason)],
	})
}
