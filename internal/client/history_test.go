package client

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// TestHistories runs a Machine through random events of a service, a network, a clock and an app, and checks
// each step against the rules of docs/build/protocol.md.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{T: rt, now: start}
		h.m = New(start, func(d time.Duration) time.Duration {
			h.bound = d
			return time.Duration(rapid.Int64Range(0, int64(d)).Draw(rt, "backoff"))
		})
		rt.Repeat(rapid.StateMachineActions(h))
	})
}

// history drives one Machine, and keeps the data that the checks need.
type history struct {
	*rapid.T
	m   Machine
	now time.Time

	connected, greeted, joined bool // state of the current connection
	joinedAt, moveAt, silentBy time.Time
	pingBy                     time.Time
	heartbeat                  time.Duration
	last                       string
	failures                   int
	bound                      time.Duration // upper bound of the last backoff
	ended, leaving             bool

	sessions     int
	session, key string
	newest       uint64 // seq of the newest bundle of tokens that the session has sent
	taken        uint64 // seq of the newest bundle of tokens that the app has applied
	expiresAt    session.UnixSec
	asked        uint64
	renewBefore  time.Duration

	applying, waits uint64 // seqs of the bundle that the app is applying, and of the bundle that waits
	applyingSession string
	expiries        map[string]session.UnixSec // expiry of each bundle, by session and seq
}

// Check is called after each event. A client that has not ended must have a deadline or a connection attempt
// in progress.
func (h *history) Check(*rapid.T) {
	next := h.m.Next()
	if waits := !next.IsZero() || h.m.State() == Connecting; waits == h.ended {
		h.Fatalf("ended %v, next %v in state %d", h.ended, next, h.m.State())
	}
	for what, by := range map[string]time.Time{"silence": h.silentBy, "heartbeat": h.pingBy} {
		if h.m.State() == Live && !by.IsZero() && next.After(by) {
			h.Fatalf("sleeps until %s, over the %s by %s", next, what, by)
		}
	}
	if !h.ended && h.m.Joins() != (h.key == "") || h.ended != (h.m.State() == Ended) || h.joined != (h.m.State() == Live || h.m.State() == Leaving) {
		h.Fatalf("state %d; ended %v, joined %v", h.m.State(), h.ended, h.joined)
	}
}

// do carries out a step and checks it. If the argument `closed` is true, the step was caused by a close with the code
// `code`.
func (h *history) do(s Step, closed bool, code protocol.CloseCode) {
	if h.ended && s != (Step{}) {
		h.Fatalf("after the end: %s", s.text())
	}
	if gone := s.Drop || closed; gone {
		h.gone(s, closed, code)
	} else if s.Lost != "" || s.End != nil {
		h.Fatalf("lost without a close: %s", s.text())
	}
	if s.Connect {
		if h.connected || h.leaving && h.key == "" {
			h.Fatal("connects with a connection, or to join after leave")
		}
		h.connected = true
	}
	if s.Send != nil {
		h.sent(s.Send)
	}
	if b := s.Apply; b != nil {
		if h.applying != 0 {
			h.Fatal("two bundles at once")
		}
		if b.Session == h.session && b.Seq <= h.taken {
			h.Fatalf("bundle %d again, after %d", b.Seq, h.taken)
		}
		if first := b.Action == ActionJoin; first != (h.expiresAt == 0) {
			h.Fatalf("action %s; the app has tokens until %d", b.Action, h.expiresAt)
		}
		h.applying, h.applyingSession = b.Seq, b.Session
	}
}

// gone checks a step after the loss of a connection.
func (h *history) gone(s Step, closed bool, code protocol.CloseCode) {
	then := protocol.Retry
	if closed {
		then = code.After(h.last)
	}
	if h.joined && h.now.Sub(h.joinedAt) > stableFor {
		h.failures = 0
	}
	wait := h.m.Next().Sub(h.now)
	switch {
	case s.End != nil && s.End.Left:
		if !h.leaving {
			h.Fatal("left by itself")
		}
		h.ended = true
	case s.End != nil:
		if then == protocol.Retry || then == protocol.JoinAfresh && h.key != "" {
			h.Fatalf("gives up after %d and %q", code, h.last)
		}
		h.ended = true
	case then == protocol.JoinAfresh:
		if s.Lost != Forgotten || wait != 0 {
			h.Fatalf("after %d: %s", code, s.text())
		}
		h.session, h.key, h.newest, h.taken, h.asked, h.waits = "", "", 0, 0, 0, 0
	case then == protocol.Stop:
		h.Fatalf("goes on after %d and %q", code, h.last)
	case !h.moveAt.IsZero():
		if s.Lost != Moving || (!h.leaving && !h.m.Next().Equal(h.moveAt)) {
			h.Fatalf("told to come at %s, comes at %s", h.moveAt, h.m.Next())
		}
	default:
		if most := min(maxBackoff, MinBackoff<<min(h.failures, 16)); h.bound != most || wait > most {
			h.Fatalf("waits %s, up to %s, want up to %s", wait, h.bound, most)
		}
		h.failures++
	}
	if s.Lost == Silent && h.now.Before(h.silentBy) {
		h.Fatal("dropped while the service had time to answer")
	}
	h.connected, h.greeted, h.joined, h.last = false, false, false, ""
	h.moveAt, h.silentBy, h.pingBy = time.Time{}, time.Time{}, time.Time{}
}

// sent checks a message that the Machine sends.
func (h *history) sent(c *protocol.ClientMessage) {
	switch first := c.Type == protocol.TypeJoin || c.Type == protocol.TypeResume; {
	case !h.connected || first == h.greeted || !first && !h.joined:
		h.Fatalf("sends %s: connected %v, greeted %v, joined %v", c.Type, h.connected, h.greeted, h.joined)
	case first:
		h.greeted, h.silentBy = true, h.now.Add(AnswerTimeout)
	case h.m.State() == Leaving && c.Type != protocol.TypeLeave:
		h.Fatalf("sends %s while leaving", c.Type)
	}
	switch c.Type {
	case protocol.TypeJoin:
		if h.key != "" {
			h.Fatal("joins with a key")
		}
	case protocol.TypeResume:
		if c.Session != h.session || c.Key != h.key || *c.Seq != h.taken || c.ExpiresAt != h.expiresAt {
			h.Fatalf("resumes %s %s after %d until %d; has %s %s, %d, %d",
				c.Session, c.Key, *c.Seq, c.ExpiresAt, h.session, h.key, h.taken, h.expiresAt)
		}
	case protocol.TypeAck:
		if *c.Seq != h.taken {
			h.Fatalf("acks %d, took %d", *c.Seq, h.taken)
		}
	case protocol.TypeNack:
		if *c.Seq <= h.taken || *c.Seq > h.newest {
			h.Fatalf("nacks %d, took %d of %d", *c.Seq, h.taken, h.newest)
		}
	case protocol.TypeRenew:
		if left := h.expiresAt.Time().Sub(h.now); left >= h.renewBefore || h.asked == h.taken {
			h.Fatalf("asks with %s left, once more: %v", left, h.asked == h.taken)
		}
		h.asked = h.taken
	case protocol.TypePing:
		h.pingBy = h.now.Add(h.heartbeat)
		if h.silentBy.IsZero() {
			h.silentBy = h.now.Add(min(10*time.Second, max(2*time.Second, 2*h.heartbeat)))
		}
	}
}

// Wait advances the clock, at most to the time that Next returns.
func (h *history) Wait(*rapid.T) {
	next := h.m.Next()
	if next.IsZero() {
		h.Skip("nothing to wait for")
	}
	if next.After(h.now) {
		h.now = h.now.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(h.now))).Draw(h.T, "wait")))
		if rapid.Bool().Draw(h.T, "to its end") {
			h.now = next
		}
	}
	due := !h.now.Before(next)
	step := h.m.Wake(h.now)
	if !due && step != (Step{}) {
		h.Fatalf("before its time: %s", step.text())
	}
	h.do(step, false, 0)
}

// Open makes a connection attempt succeed.
func (h *history) Open(*rapid.T) {
	if !h.connected || h.greeted {
		h.Skip("no attempt")
	}
	h.do(h.m.Opened(h.now), false, 0)
	if !h.greeted {
		h.Fatal("no first message")
	}
}

// Close closes the connection, or makes a connection attempt fail.
func (h *history) Close(*rapid.T) {
	if !h.connected {
		h.Skip("no connection")
	}
	codes := []protocol.CloseCode{0, 3000}
	for _, c := range protocol.CloseCodes() {
		codes = append(codes, c.Code)
	}
	code := rapid.SampledFrom(codes).Draw(h.T, "code")
	h.do(h.m.Closed(h.now, code), true, code)
}

// Joined sends the service's answer to the join or resume.
func (h *history) Joined(*rapid.T) {
	if !h.greeted || h.joined {
		h.Skip("no first message")
	}
	resumed := h.key != ""
	if !resumed {
		h.sessions++
		h.session, h.newest, h.taken, h.asked = fmt.Sprint("S", h.sessions), 0, 0, 0
	}
	b := h.bundle(protocol.TypeJoined)
	b.Resumed, b.Session, b.Key = resumed, h.session, fmt.Sprint(h.key, "K")
	b.Heartbeat = rapid.Int64Range(1, 60).Draw(h.T, "heartbeat")
	h.heartbeat = time.Duration(b.Heartbeat) * time.Second
	h.pingBy = h.now.Add(h.heartbeat)
	b.RenewBefore = rapid.Int64Range(1, 300).Draw(h.T, "renewBefore")
	h.key, h.renewBefore = b.Key, time.Duration(b.RenewBefore)*time.Second
	h.joined, h.joinedAt, h.silentBy, h.last = true, h.now, time.Time{}, ""
	h.offer(b)
}

// offer sends a bundle of tokens to the Machine. If the app is applying another bundle, the Machine must keep the new
// one waiting.
func (h *history) offer(b *Message) {
	busy := h.applying != 0 && (h.applyingSession != h.session || h.applying < b.Seq)
	h.do(h.m.Received(h.now, b), false, 0)
	if busy && h.m.State() == Live {
		h.waits = b.Seq
	}
}

// bundle returns a message of the given type with new tokens, or with the newest tokens again.
func (h *history) bundle(kind string) *Message {
	if h.newest == 0 || rapid.Bool().Draw(h.T, "new") {
		h.newest++
	}
	b := bundle(kind, h.newest, h.now, rapid.Int64Range(1, 3600).Draw(h.T, "life"))
	if h.expiries == nil {
		h.expiries = make(map[string]session.UnixSec)
	}
	id := fmt.Sprint(h.session, "#", b.Seq)
	if known := h.expiries[id]; known != 0 {
		b.Tokens.RTC.ExpiresAt = known
	}
	h.expiries[id] = b.ExpiresAt()
	return b
}

func (h *history) Push(*rapid.T) {
	if !h.joined {
		h.Skip("not joined")
	}
	h.said("")
	h.offer(h.bundle(protocol.TypeWillExpire))
}

// said stores the type of the last message if the meaning of a close code depends on that type; otherwise it stores "".
func (h *history) said(last string) {
	if h.last = last; h.m.State() == Live {
		h.silentBy = time.Time{}
	}
}

// Say sends the Machine a message other than joined and pushes.
func (h *history) Say(*rapid.T) {
	if !h.greeted {
		h.Skip("not greeted")
	}
	kinds := map[string]string{protocol.TypePong: "", protocol.TypeError: protocol.TypeError, protocol.TypeEnded: protocol.TypeEnded, protocol.TypeReconnect: "", "weather": ""}
	kind := rapid.SampledFrom([]string{protocol.TypePong, protocol.TypeError, protocol.TypeEnded, protocol.TypeReconnect, "weather"}).Draw(h.T, "type")
	h.said(kinds[kind])
	msg := other(kind)
	if kind == protocol.TypeReconnect && h.m.State() != Leaving {
		msg.AfterMs = rapid.Int64Range(0, 30_000).Draw(h.T, "afterMs")
		h.moveAt = h.now.Add(time.Duration(msg.AfterMs) * time.Millisecond)
	}
	h.do(h.m.Received(h.now, msg), false, 0)
}

// Take makes the app accept a bundle of tokens, refuse it, or give no answer.
func (h *history) Take(*rapid.T) {
	if h.applying == 0 {
		h.Skip("no bundle")
	}
	err := rapid.SampledFrom([]error{nil, errors.New("no"), ErrSilent}).Draw(h.T, "verdict")
	same := h.applyingSession == h.session
	if err == nil {
		h.expiresAt = h.expiries[fmt.Sprint(h.applyingSession, "#", h.applying)]
		if same {
			h.taken = h.applying
		}
	}
	h.applying = 0
	answers := same && h.m.State() == Live && !errors.Is(err, ErrSilent)
	step := h.m.Applied(err)
	if answers != (step.Send != nil) {
		h.Fatalf("answers by %s", step.text())
	}
	if h.waits > 0 && h.m.State() < Leaving && (step.Apply == nil || step.Apply.Seq != h.waits) {
		h.Fatalf("%d waits; %s", h.waits, step.text())
	}
	h.waits = 0
	h.do(step, false, 0)
}

// Renew simulates an SDK's warning that its tokens expire.
func (h *history) Renew(*rapid.T) { h.do(h.m.Renew(h.now), false, 0) }

// Leave leaves the session, but only in one of ten calls, since a history ends with it.
func (h *history) Leave(*rapid.T) {
	if rapid.IntRange(0, 9).Draw(h.T, "leave") > 0 {
		h.Skip("not yet")
	}
	h.leaving = true
	h.do(h.m.Leave(h.now), false, 0)
}
