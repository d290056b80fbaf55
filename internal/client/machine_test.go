package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

var start = time.Unix(1_800_000_000, 0)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

func most(d time.Duration) time.Duration { return d }

func joinedMessage(resumed bool, seq uint64, now time.Time, life int64) *Message {
	m := bundle(protocol.TypeJoined, seq, now, life)
	m.Session, m.Key, m.Resumed, m.Heartbeat, m.RenewBefore = "S", fmt.Sprintf("K%d", seq), resumed, 25, 15
	return m
}

func bundle(kind string, seq uint64, now time.Time, life int64) *Message {
	m := new(Message)
	m.Type, m.Seq, m.Now = kind, seq, session.MilliOf(now)
	m.Action = protocol.ActionRenew
	m.Tokens.RTC = &protocol.Token{Token: "t", ExpiresAt: session.SecOf(now) + session.UnixSec(life)}
	return m
}

func other(kind string) *Message {
	m := new(Message)
	m.Type = kind
	return m
}

func reconnect(afterMs int64) *Message {
	m := other(protocol.TypeReconnect)
	m.AfterMs = afterMs
	return m
}

// text describes a step, for example "drop; lost broken; connect".
func (s Step) text() string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(s.Drop, "drop")
	add(s.Lost != "", "lost %s", s.Lost)
	add(s.Connect, "connect")
	if c := s.Send; c != nil {
		text := c.Type
		if c.Seq != nil {
			text += fmt.Sprintf(" %d", *c.Seq)
		}
		add(true, "%s", strings.TrimSpace(text+" "+c.Key))
	}
	if b := s.Apply; b != nil {
		add(true, "apply %s #%d", b.Action, b.Seq)
	}
	if e := s.End; e != nil {
		add(e.Left && e.Unheard == nil, "left")
		add(e.Left && e.Unheard != nil, "left unheard")
		add(!e.Left, "end %d", e.Code)
	}
	return strings.Join(parts, "; ")
}

// in returns a Machine that has reached the state at the time start.
func in(state State) *Machine {
	m := New(start, most)
	do := []func(){
		Connecting: func() { m.Wake(start) },
		Greeting:   func() { m.Opened(start) },
		Live:       func() { m.Received(start, joinedMessage(false, 1, start, 60)); m.Applied(nil) },
		Leaving:    func() { m.Leave(start) },
		Ended:      func() { m.Closed(start, protocol.CloseLeft) },
	}
	for _, f := range do[1 : state+1] {
		f()
	}
	return &m
}

// away returns a Machine that lost its connection at the time start, and waits 0.5 s for its next attempt.
func away() *Machine {
	m := in(Live)
	m.Closed(start, protocol.CloseAbnormal)
	return m
}

// TestTransitions checks the transitions in the package documentation, and the Step that each event returns.
func TestTransitions(t *testing.T) {
	ended := other(protocol.TypeEnded)
	ended.Reason = "revoked"
	left := other(protocol.TypeEnded)
	left.Reason = "left"
	refused := other(protocol.TypeError)
	closeAfter := func(code protocol.CloseCode, messages ...*Message) func(*Machine) Step {
		return func(m *Machine) Step {
			for _, msg := range messages {
				m.Received(start, msg)
			}
			return m.Closed(start, code)
		}
	}
	receive := func(seconds float64, msg *Message) func(*Machine) Step {
		return func(m *Machine) Step { return m.Received(after(seconds), msg) }
	}
	wake := func(seconds float64) func(*Machine) Step {
		return func(m *Machine) Step { return m.Wake(after(seconds)) }
	}
	leave := func(m *Machine) Step { return m.Leave(start) }
	for name, c := range map[string]struct {
		from  *Machine
		event func(*Machine) Step
		want  string
		to    State
	}{
		"the first attempt is due at once":   {in(Waiting), wake(0), "connect", Connecting},
		"the next one after the backoff":     {away(), wake(0.5), "connect", Connecting},
		"and not before":                     {away(), wake(0.4), "", Waiting},
		"nobody accepts":                     {in(Connecting), closeAfter(0), "lost broken", Waiting},
		"the handshake is refused":           {in(Connecting), closeAfter(protocol.CloseForbidden), "end 4403", Ended},
		"a new client joins":                 {in(Connecting), func(m *Machine) Step { return m.Opened(start) }, "join", Greeting},
		"one with a session resumes":         {away(), func(m *Machine) Step { m.Wake(after(1)); return m.Opened(after(1)) }, "resume 1 K1", Greeting},
		"joined":                             {in(Greeting), receive(1, joinedMessage(false, 1, start, 60)), "apply join #1", Live},
		"a joined without a key":             {in(Greeting), receive(1, bundle(protocol.TypeJoined, 1, start, 60)), "", Greeting},
		"a message of a newer service":       {in(Greeting), receive(1, other("weather")), "", Greeting},
		"no answer to the join":              {in(Greeting), wake(10), "drop; lost silent", Waiting},
		"other messages are no answer to it": {in(Greeting), func(m *Machine) Step { m.Received(after(9), other("weather")); return m.Wake(after(10)) }, "drop; lost silent", Waiting},
		"sent away":                          {in(Greeting), closeAfter(protocol.CloseOverload, reconnect(7000)), "lost moving", Waiting},
		"refused":                            {in(Greeting), closeAfter(protocol.CloseMalformed, refused), "end 4400", Ended},
		"unknown, without a session":         {in(Greeting), closeAfter(protocol.CloseUnknownSession, refused), "end 4404", Ended},
		"a push":                             {in(Live), receive(1, bundle(protocol.TypeWillExpire, 2, start, 60)), "apply renew #2", Live},
		"a push that is applied already":     {in(Live), receive(1, bundle(protocol.TypeWillExpire, 1, start, 60)), "ack 1", Live},
		"a push without tokens":              {in(Live), receive(1, other(protocol.TypeWillExpire)), "", Live},
		"a second joined":                    {in(Live), receive(1, joinedMessage(false, 2, start, 60)), "", Live},
		"the heartbeat":                      {in(Live), wake(25), "ping", Live},
		"a close without a reason":           {in(Live), closeAfter(protocol.CloseLeft), "lost broken", Waiting},
		"the session is over":                {in(Live), closeAfter(protocol.CloseEnded, ended), "end 4410", Ended},
		"over, and the close frame is lost":  {in(Live), closeAfter(protocol.CloseAbnormal, ended), "end 1006", Ended},
		"left by another connection":         {in(Live), closeAfter(protocol.CloseLeft, left), "left", Ended},
		"the service forgot the session":     {in(Live), closeAfter(protocol.CloseUnknownSession, refused), "lost forgotten", Waiting},
		"asked to come again":                {in(Live), func(m *Machine) Step { m.Received(start, reconnect(3000)); return m.Wake(after(3)) }, "drop; lost moving", Waiting},
		"leave":                              {in(Live), leave, "leave", Leaving},
		"leave before there is a connection": {in(Waiting), leave, "drop; left", Ended},
		"leave while connecting":             {in(Connecting), leave, "drop; left", Ended},
		"leave before joined":                {in(Greeting), leave, "", Greeting},
		"joined after leave":                 {in(Greeting), func(m *Machine) Step { m.Leave(start); return m.Received(start, joinedMessage(false, 1, start, 60)) }, "leave", Leaving},
		"the join fails after leave":         {in(Greeting), func(m *Machine) Step { m.Leave(start); return m.Closed(start, 0) }, "left", Ended},
		"leave without a connection":         {away(), leave, "", Waiting},
		"no connection comes":                {away(), func(m *Machine) Step { m.Leave(start); return m.Wake(after(5)) }, "drop; left unheard", Ended},
		"leave is confirmed":                 {in(Leaving), closeAfter(protocol.CloseLeft, left), "left", Ended},
		"the connection breaks instead":      {in(Leaving), closeAfter(0), "left unheard", Ended},
		"nobody confirms it":                 {in(Leaving), wake(5), "drop; left unheard", Ended},
		"tokens while leaving":               {in(Leaving), receive(1, bundle(protocol.TypeWillExpire, 2, start, 60)), "", Leaving},
		"leave again":                        {in(Leaving), leave, "", Leaving},
		"after the end no attempt":           {in(Ended), wake(3600), "", Ended},
		"not the last message":               {in(Live), closeAfter(protocol.CloseNotUTF8, refused, other(protocol.TypePong)), "lost broken", Waiting},
	} {
		t.Run(name, func(t *testing.T) {
			step := c.event(c.from)
			if got := step.text(); got != c.want || c.from.State() != c.to {
				t.Errorf("%q, state %d; want %q, %d", got, c.from.State(), c.want, c.to)
			}
		})
	}
}

// Each wait is random, up to a bound. The bound doubles with each failed connection, up to 20 s. A connection that stays
// joined for more than 5 s resets the bound. The message `reconnect` does not change it.
func TestBackoff(t *testing.T) {
	m := in(Greeting)
	now := start
	fail := func(want time.Duration) {
		t.Helper()
		m.Closed(now, 0)
		if got := m.Next().Sub(now); got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
		now = m.Next()
		m.Wake(now)
		m.Opened(now)
	}
	for _, seconds := range []float64{0.5, 1, 2, 4, 8, 16, 20, 20} {
		fail(after(seconds).Sub(start))
	}
	m.Received(now, joinedMessage(false, 1, now, 600))
	now = now.Add(stableFor)
	fail(20 * time.Second)
	m.Received(now, reconnect(1234))
	fail(1234 * time.Millisecond)
	fail(20 * time.Second)
	m.Received(now, joinedMessage(true, 2, now, 600))
	now = now.Add(stableFor + 1)
	fail(500 * time.Millisecond)
	m.failures = 1 << 30
	fail(20 * time.Second)
}

// The client sends a ping every heartbeat. A second ping does not extend the timeout for the answer to the first.
func TestHeartbeat(t *testing.T) {
	m := in(Greeting)
	short := joinedMessage(false, 1, start, 600)
	short.Heartbeat = 4
	m.Received(start, short)
	for _, want := range []string{"ping", "ping", "drop; lost silent"} {
		now := m.Next()
		if got := m.Wake(now).text(); got != want {
			t.Errorf("after %s: %q, want %q", now.Sub(start), got, want)
		}
	}
	if got := m.Next(); !got.Equal(after(12.5)) { // the ping at 4 s was not answered within two heartbeats (8 s); then comes a backoff of 0.5 s
		t.Errorf("the next attempt is after %s", got.Sub(start))
	}
	m = in(Greeting)
	unnamed := joinedMessage(false, 1, start, 600)
	unnamed.Heartbeat = 0
	m.Received(start, unnamed)
	if !m.Next().Equal(after(25)) {
		t.Errorf("without a heartbeat: %s", m.Next().Sub(start))
	}
}

// If a node stops without closing its connections, its clients notice early enough. The head start is the time between
// the renewal and the expiry of tokens: for any lifetime of the tokens, half of the head start is left for
// reconnecting.
func TestSilentNodeIsFoundInTime(t *testing.T) {
	var policy session.Policy
	for _, life := range []int64{12, 20, 30, 60, 300, 600, 3600, 86_400} {
		headStart := policy.HeadStart(time.Duration(life) * time.Second)
		m := in(Greeting)
		joined := joinedMessage(false, 1, start, life)
		joined.Heartbeat = protocol.FromJoined(session.Joined{RenewBefore: headStart}, 50*time.Second).Heartbeat
		m.Received(start, joined)
		for m.State() == Live { // this is the worst moment: the node stops right after an answer
			now := m.Next()
			m.Wake(now)
			if took := now.Sub(start); took > headStart/2 {
				t.Fatalf("tokens of %d s: silence is found after %s of a head start of %s", life, took, headStart)
			}
		}
	}
}

// The app gets no bundle of tokens that the app has already applied, and no bundle that a newer bundle has replaced.
func TestRepeatedBundles(t *testing.T) {
	m := in(Live)
	push := func(seq uint64) string {
		return m.Received(start, bundle(protocol.TypeWillExpire, seq, start, 60)).text()
	}
	for i, step := range []struct{ got, want string }{
		{push(2), "apply renew #2"},
		{push(2), ""},
		{push(4), ""},
		{push(5), ""},
		{m.Applied(nil).text(), "ack 2; apply renew #5"},
		{push(4), ""},
		{m.Applied(nil).text(), "ack 5"},
		{push(5), "ack 5"},
		{push(4), ""},
	} {
		if step.got != step.want {
			t.Errorf("step %d: %q, want %q", i, step.got, step.want)
		}
	}
}

func TestLongReasonIsCut(t *testing.T) {
	m := in(Live)
	m.Received(start, bundle(protocol.TypeWillExpire, 2, start, 60))
	if nack := m.Applied(errors.New(strings.Repeat("x", 10_000))).Send; len(nack.Message) != maxReason || nack.Code != "APPLY_FAILED" {
		t.Errorf("%+v", nack)
	}
}

// The first tokens of a later session have the action "renew", or "rejoin" if the old tokens have expired.
func TestActionOfANewSession(t *testing.T) {
	for action, seconds := range map[string]float64{protocol.ActionRenew: 59, protocol.ActionRejoin: 60} {
		m := in(Live)
		m.Closed(after(seconds), protocol.CloseUnknownSession)
		m.Wake(after(seconds))
		m.Opened(after(seconds))
		fresh := joinedMessage(false, 1, after(seconds), 60)
		if step := m.Received(after(seconds), fresh); step.Apply == nil || step.Apply.Action != action {
			t.Errorf("a new session after %v s: %s", seconds, step.text())
		}
	}
}

// When an SDK warns that its tokens expire, the client requests new tokens if the service should already have pushed
// them, but only once for each bundle. This works for any difference between the client's and the service's clock.
func TestRenew(t *testing.T) {
	for _, lead := range []time.Duration{0, time.Hour, -time.Hour} {
		m := in(Greeting)
		m.Received(start, joinedMessage(false, 1, start.Add(lead), 60))
		m.Applied(nil)
		for _, c := range []struct {
			at   float64
			want string
		}{{0, ""}, {45, ""}, {46, "renew"}, {47, ""}, {65, ""}} {
			if got := m.Renew(after(c.at)).text(); got != c.want {
				t.Errorf("lead %s, after %v s: %q, want %q", lead, c.at, got, c.want)
			}
		}
		m.Received(after(65), bundle(protocol.TypeDidExpire, 2, after(65).Add(lead), 10))
		m.Applied(nil)
		if got := m.Renew(after(66)).text(); got != "renew" {
			t.Errorf("lead %s, the next bundle: %q", lead, got)
		}
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"joined","session":"S","key":"K","seq":1,"tokens":{"chat":{"token":"t","expiresAt":5}}}`: "joined 5 true",
		`{"type":"joined","session":7,"key":"K","seq":1,"tokens":{"rtc":{"token":"t","expiresAt":5}}}`:    "joined 5 false",
		`{"type":"token-privilege-will-expire","seq":1,"tokens":{"rtm":{"token":"t","expiresAt":5}}}`:     "token-privilege-will-expire 5 true",
		`{"type":"token-privilege-did-expire","seq":1,"tokens":[]}`:                                       "token-privilege-did-expire 0 false",
		`{"type":"weather","code":7,"message":{"sky":"blue"}}`:                                            "weather 0 true",
	} {
		m, err := Decode([]byte(text))
		if got := fmt.Sprint(m.Type, " ", m.ExpiresAt(), " ", m.complete()); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{", `{"type":"pong"}{}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// After a long suspension of the process, the client drops the connection with its unread messages. After a short
// suspension, the client keeps the connection.
func TestStaleMessagesAreNotTaken(t *testing.T) {
	for state, deadline := range map[State]float64{Greeting: 10, Live: 25} {
		for late, want := range map[float64]string{5: "", 5.1: "drop; lost silent", 3600: "drop; lost silent"} {
			if got := in(state).CheckLate(after(deadline + late)).text(); got != want {
				t.Errorf("in state %d, %v s late: %q, want %q", state, late, got, want)
			}
		}
	}
	for _, state := range []State{Waiting, Connecting, Leaving, Ended} {
		if got := in(state).CheckLate(after(3600)).text(); got != "" {
			t.Errorf("in state %d: %q", state, got)
		}
	}
}
