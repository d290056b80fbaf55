package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// State is the state of a client. The package documentation lists the transitions between states.
type State uint8

// States.
const (
	Waiting    State = iota // the client has no connection; the next attempt is not due yet
	Connecting              // the caller is opening a WebSocket
	Greeting                // the client has sent a join or a resume
	Live                    // the client has received the message `joined`
	Leaving                 // the client has sent a leave
	Ended                   // the client does nothing any more
)

// Step says what the caller must do after an event, in the order of the fields.
type Step struct {
	// Drop means that the caller must close the connection, or stop opening it. The caller must not call Closed for
	// this connection.
	Drop bool
	// Lost, if not empty, is why the connection was lost. Next returns the time of the next attempt.
	Lost Loss
	// Connect means that the caller must open a WebSocket, and then call Opened or Closed.
	Connect bool
	// Send, if not nil, is a message to send. A join has only its type: the caller adds the identity and the credential.
	Send *protocol.ClientMessage
	// Apply, if not nil, is a bundle of new tokens for the app, which must carry out the bundle's Action. The caller
	// must call Applied when the SDKs have accepted or refused the bundle.
	Apply *Message
	// End is not nil if the client has ended.
	End *End
}

// Loss is the reason why a connection was lost.
type Loss string

// Losses.
const (
	Broken    Loss = "broken"    // the connection was closed, or could not be opened
	Silent    Loss = "silent"    // the service did not answer in time, or this process was suspended
	Moving    Loss = "moving"    // the service asked the client to reconnect
	Forgotten Loss = "forgotten" // the service does not know the session, so the client joins a new one
)

// ActionJoin is the action of each bundle until the app has applied one, since until then there is no call. It replaces
// the service's action, protocol.ActionRenew or protocol.ActionRejoin.
const ActionJoin = "join"

// End describes how a client has ended.
type End struct {
	Left bool               // whether Leave was called
	Code protocol.CloseCode // the service's close code
	Last *Message           // the service's last message if its type is error or ended, else nil
	// Unheard is not nil if it is uncertain whether the service received the leave message. The caller must then leave
	// over HTTP, with the session, key and seq in Unheard.
	Unheard *protocol.ClientMessage
}

// ErrSilent is the argument of Applied if an SDK did not answer. The client then sends neither an ack nor a nack, so
// that the service pushes the tokens again.
var ErrSilent = errors.New("no answer")

// Timeouts and limits that the protocol sets for clients; see docs/build/protocol.md, "What a client owes".
const (
	// MinBackoff is the upper bound of the wait after the first failed connection. The bound doubles with each further
	// failure, up to maxBackoff. A connection that stays joined for longer than stableFor resets the bound to
	// MinBackoff.
	MinBackoff = 500 * time.Millisecond
	maxBackoff = 20 * time.Second
	stableFor  = 5 * time.Second
	// AnswerTimeout is the time for opening a connection, and for the answer to a join or a resume.
	AnswerTimeout = 10 * time.Second
	// leastPatience is the shortest timeout for the answer to a ping; AnswerTimeout is the longest.
	leastPatience = 2 * time.Second
	// leaveTimeout is the time in which the leave must be sent and the service must close the connection.
	leaveTimeout = 5 * time.Second
	// mostLate is the longest expected delay between a deadline and its handling. If the delay is longer, the process
	// was suspended.
	mostLate = 5 * time.Second
	// usualHeartbeat is the heartbeat if the service sends none.
	usualHeartbeat = 25 * time.Second
	// maxReason is the length in bytes to which the message of a nack is cut, since the service keeps no more.
	maxReason = 256
)

// Patience returns how long a client with this heartbeat waits for the answer to a ping before it treats the connection
// as dead. Any message counts as an answer. A client with short-lived tokens has a short heartbeat, and therefore a
// short timeout: such a client has little time to reconnect.
func Patience(heartbeat time.Duration) time.Duration {
	return min(AnswerTimeout, max(leastPatience, 2*heartbeat))
}

// Machine is the state machine of a client. It does no I/O: the caller passes each event with its time to a method, and
// carries out the Step that the method returns. It is not safe for concurrent use.
type Machine struct {
	state  State
	spread func(time.Duration) time.Duration

	session, key string
	seq          uint64          // number of the newest bundle of tokens of this session that the app has applied
	asked        uint64          // the value of seq when the client last requested a renewal
	expiresAt    session.UnixSec // expiry of the app's tokens on the service's clock; 0 if the app has no tokens
	expires      time.Time       // the same expiry on the caller's clock
	renewBefore  time.Duration
	heartbeat    time.Duration
	failures     int // consecutive failed connections

	due      time.Time // time of the next attempt in the state Waiting; deadline for the service's answer in Greeting and Live
	pingAt   time.Time
	moveAt   time.Time // when to reconnect, according to a message `reconnect`; zero if there was none
	leaveBy  time.Time // deadline of leaving; zero before Leave is called
	joinedAt time.Time // when this connection received the message `joined`

	applying *Message // the bundle of tokens that the app is applying
	waiting  *Message // the newest bundle that arrived while the app was applying another bundle
	last     *Message // the last message of this connection if its type is error or ended, else nil
}

// New returns a Machine that connects at once. The function `spread` randomises the backoff: it returns a duration from 0
// to its argument. Programs pass Spread; tests and simulations may pass another function.
func New(now time.Time, spread func(time.Duration) time.Duration) Machine {
	return Machine{spread: spread, due: now}
}

// Spread returns a random duration below bound. With it, clients that lost the same node do not all reconnect at
// the same moment.
func Spread(bound time.Duration) time.Duration {
	return rand.N(bound) //nolint:gosec // not a secret
}

// State returns the client's state.
func (m *Machine) State() State { return m.state }

// Session returns the session's id, or "" before the first message `joined`.
func (m *Machine) Session() string { return m.session }

// Joins reports whether the next connection starts with a join, which needs a credential. Otherwise it starts
// with a resume.
func (m *Machine) Joins() bool { return m.key == "" }

// ExpiresAt returns when the app's tokens expire, on the service's clock; 0 if the app has none.
func (m *Machine) ExpiresAt() session.UnixSec { return m.expiresAt }

// Next returns when the caller must call Wake; zero if no deadline is set.
func (m *Machine) Next() time.Time {
	var first time.Time
	for _, t := range [...]time.Time{m.due, m.pingAt, m.moveAt, m.leaveBy} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// Wake handles the deadlines that have passed.
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
		if m.due.IsZero() { // sets no new deadline if an older ping is still unanswered
			m.due = now.Add(Patience(m.heartbeat))
		}
		return send(protocol.ClientMessage{Type: protocol.TypePing})
	}
	return Step{}
}

// CheckLate drops the connection if one of its deadlines passed more than mostLate ago, which means that the process
// was suspended. The connection's unread messages may then be old: their time is no longer the service's current time,
// and their tokens may have expired. The next connection begins with the current time and valid tokens.
func (m *Machine) CheckLate(now time.Time) Step {
	next := m.Next()
	if (m.state != Greeting && m.state != Live) || next.IsZero() || now.Sub(next) <= mostLate {
		return Step{}
	}
	return m.lose(now, Silent)
}

// Opened must be called when the caller has opened a WebSocket because of Step.Connect.
func (m *Machine) Opened(now time.Time) Step {
	m.state, m.due = Greeting, now.Add(AnswerTimeout)
	if m.key == "" {
		return send(protocol.ClientMessage{Type: protocol.TypeJoin})
	}
	return Step{Send: m.resume()}
}

func (m *Machine) resume() *protocol.ClientMessage {
	if m.key == "" {
		return nil
	}
	seq := m.seq
	return &protocol.ClientMessage{Type: protocol.TypeResume, Session: m.session, Key: m.key, Seq: &seq, ExpiresAt: m.expiresAt}
}

// Closed must be called when the connection was closed, or could not be opened. The argument `code` is the close code,
// or 0 if there is none.
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
		m.session, m.key, m.seq, m.asked, m.waiting = "", "", 0, 0, nil // expiresAt is kept, since the app still has the tokens of the old session
		step = m.lose(now, Forgotten)
	case then != protocol.Retry:
		step = m.end(End{Code: code, Last: m.last})
	default:
		step = m.lose(now, Broken)
	}
	step.Drop = false
	return step
}

// Received handles a message from the service.
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
	return Step{} // a pong, or a message of a type that only newer clients know
}

// Applied must be called when the app has carried out Step.Apply. err is nil if the app's SDKs accepted the bundle;
// otherwise it says why they refused the bundle.
func (m *Machine) Applied(err error) Step {
	b := m.applying
	m.applying = nil
	same := b.Session == m.session // false if the client has joined a new session meanwhile, or must join one
	if err == nil {
		m.expiresAt, m.expires = b.ExpiresAt(), b.Expires
		if same {
			m.seq = b.Seq
		}
	}
	var step Step
	if same && m.state == Live && !errors.Is(err, ErrSilent) { // without a connection, the seq in the next resume confirms the bundle
		step = answer(b.Seq, err)
	}
	if next := m.waiting; next != nil {
		m.waiting = nil
		step.Apply = m.begin(next)
	}
	return step
}

// Renew must be called when an SDK warns that its tokens expire. The client then requests fresh tokens, at most once for
// each bundle, and only if the service should already have pushed fresh tokens.
func (m *Machine) Renew(now time.Time) Step {
	if m.state != Live || m.asked == m.seq || m.expires.Sub(now) >= m.renewBefore {
		return Step{}
	}
	m.asked = m.seq
	return send(protocol.ClientMessage{Type: protocol.TypeRenew})
}

// Leave ends the session. If there is no connection, the client waits for a connection, at most for leaveTimeout.
func (m *Machine) Leave(now time.Time) Step {
	switch {
	case m.state == Ended || !m.leaveBy.IsZero():
		return Step{}
	case m.key == "" && m.state != Greeting: // there is no session to leave
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

// joined stores the session of a message `joined` and offers its bundle to the app.
func (m *Machine) joined(now time.Time, msg *Message) Step {
	m.state, m.joinedAt, m.due = Live, now, time.Time{}
	m.session, m.key = msg.Session, msg.Key
	if !msg.Resumed { // the session is new, but the app may still be in a call with the tokens of an older session
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

// offer gives a bundle of tokens to the app, unless the app has applied it already. If the app is applying another
// bundle, the new one waits.
func (m *Machine) offer(now time.Time, b *Message) Step {
	b.Expires = now.Add(b.ExpiresAt().Milli().Sub(b.Now))
	switch {
	case b.Seq < m.seq:
	case b.Seq == m.seq: // the app has applied this bundle already, but the service did not receive the ack
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

// lose gives up the connection and schedules the next attempt.
func (m *Machine) lose(now time.Time, why Loss) Step {
	if !m.joinedAt.IsZero() && now.Sub(m.joinedAt) > stableFor {
		m.failures = 0
	}
	m.state = Waiting
	switch {
	case !m.leaveBy.IsZero() && m.key == "": // there is no session to leave, so the client has ended
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

// answer returns a Step that sends the ack of a bundle of tokens, or its nack if refused is not nil.
func answer(seq uint64, refused error) Step {
	if refused == nil {
		return send(protocol.ClientMessage{Type: protocol.TypeAck, Seq: &seq})
	}
	text := refused.Error()
	return send(protocol.ClientMessage{
		Type: protocol.TypeNack, Seq: &seq, Code: "APPLY_FAILED", Message: text[:min(len(text), maxReason)],
	})
}
