package planner

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/ws/admission"
)

// Bounds of a simulation.
const (
	maxSimulated = 1_000_000
	maxSpan      = 48 * time.Hour
)

// Scenario is the input of Simulate: calls that start, are renewed, and lose their connections once.
type Scenario struct {
	Seed     uint64
	Sessions int
	Nodes    int
	TTL      time.Duration
	// RenewBefore is the policy's head start; 0 means its default.
	RenewBefore time.Duration
	// StartOver is the time over which the calls start, evenly.
	StartOver time.Duration
	// Length is the simulated time.
	Length time.Duration
	// JoinRate is how many joins and resumes each node admits a second; 0 means all.
	JoinRate float64

	// BreakAt is when connections break; 0 means never. Lost is the number of nodes that lose
	// their connections. Back is the time from BreakAt until those nodes accept connections again;
	// 0 means never.
	BreakAt time.Duration
	Lost    int
	Back    time.Duration
	// OneByOne is the time after which the load balancer finds the next one of these nodes again.
	OneByOne time.Duration
	// Notice is how long clients take at most to notice the break; each takes a random part of it.
	Notice time.Duration
}

// Outcome is the result of Simulate.
type Outcome struct {
	// Renewals is the number of scheduled renewals in each second.
	Renewals []int
	// Attempts is the number of connection attempts in each second from the break on; Refused is
	// how many of them nodes refused.
	Attempts []int
	Refused  int
	Broken   int
	// BackAfter is the time from the break until all clients were back, HalfAfter until half of
	// them were. Away is the number of calls that were not back at the end.
	BackAfter, HalfAfter time.Duration
	Away                 int
	// RanOut is how many calls' tokens expired. LeastLeft is the least remaining lifetime of a call's tokens when the
	// call was back; it is negative if the tokens had expired.
	RanOut    int
	LeastLeft time.Duration

	came int // number of calls that are back
}

// Mean returns the average number of renewals a second between two times.
func (o *Outcome) Mean(from, to time.Duration) float64 {
	sum := 0
	seconds := o.Renewals[from/time.Second : to/time.Second]
	for _, n := range seconds {
		sum += n
	}
	return float64(sum) / float64(len(seconds))
}

// Peak returns the most renewals in one second between two times.
func (o *Outcome) Peak(from, to time.Duration) int {
	most := 0
	for _, n := range o.Renewals[from/time.Second : to/time.Second] {
		most = max(most, n)
	}
	return most
}

func (s *Scenario) check() error {
	switch {
	case s.Sessions < 1 || s.Sessions > maxSimulated:
		return fmt.Errorf("sessions: want 1 to %d", maxSimulated)
	case s.Nodes < 1 || s.Nodes > s.Sessions:
		return errors.New("nodes: want 1 to the number of sessions")
	case s.TTL < minTTL || s.TTL > session.MaxLifetime || s.TTL%time.Second != 0:
		return fmt.Errorf("ttl: want whole seconds, %s to %s", minTTL, session.MaxLifetime)
	case s.StartOver < 0 || s.Length <= 0 || s.Length > maxSpan || s.StartOver > s.Length || s.BreakAt > s.Length:
		return fmt.Errorf("length: want at most %s, and what happens within it", maxSpan)
	case s.Lost < 0 || s.Lost > s.Nodes || s.Lost == s.Nodes && s.Back == 0 && s.BreakAt > 0:
		return errors.New("lost: want no more nodes than there are, and one that takes calls afterwards")
	case !(s.JoinRate >= 0) || s.RenewBefore < 0 || s.Notice < 0 || s.Back < 0 || s.OneByOne < 0 || s.BreakAt < 0:
		return errors.New("want no negative rate or span")
	}
	return nil
}

const minTTL = 3 * time.Second

// Simulate simulates a scenario. It is deterministic.
func Simulate(s Scenario) (Outcome, error) {
	if err := s.check(); err != nil {
		return Outcome{}, err
	}
	w := &world{
		Scenario: s, policy: session.Policy{RenewBefore: s.RenewBefore, AckTimeout: 5 * time.Second},
		rand:    rand.New(rand.NewPCG(s.Seed, 1)), //nolint:gosec // to be the same each time
		clients: make([]caller, s.Sessions), gates: make([]*admission.Admission, s.Nodes),
	}
	w.spread = w.part
	// The clocks start at a random time within a second.
	w.wall = 1_800_000_000_000_000_000 + session.UnixNano(w.rand.Int64N(int64(time.Second)))
	w.outcome.Renewals = make([]int, s.Length/time.Second+1)
	w.outcome.LeastLeft = session.MaxLifetime
	for i := range w.gates {
		if s.JoinRate > 0 {
			w.gates[i] = admission.New(s.JoinRate, w.spread)
		}
	}
	for i := range w.clients {
		w.clients[i].node = i % s.Nodes
		w.at(time.Duration(float64(s.StartOver)*float64(i)/float64(s.Sessions)), i, begin)
	}
	if s.BreakAt > 0 {
		w.at(s.BreakAt, 0, breakAll)
	}
	w.play()
	return w.outcome, nil
}

// kind is the kind of an event.
type kind uint8

const (
	begin    kind = iota // a call begins
	renew                // a session's deadline has come
	breakAll             // nodes lose their connections
	attempt              // a client tries to connect
)

type event struct {
	at     time.Duration
	order  int // order of insertion, for events of the same moment
	client int
	kind   kind
	turn   int // the value of the client's `turn` to which the event belongs
}

// caller is a call: the client's state and its node's.
type caller struct {
	machine client.Machine
	session *session.Session
	node    int
	turn    int // each change of the call's connection increments it
	away    bool
}

type world struct {
	Scenario
	policy  session.Policy
	rand    *rand.Rand
	wall    session.UnixNano
	events  events
	puts    int
	clients []caller
	spread  func(time.Duration) time.Duration // the method `part`, for the clients' backoff
	gates   []*admission.Admission
	outcome Outcome
}

func (w *world) at(t time.Duration, client int, k kind) {
	w.puts++
	heap.Push(&w.events, event{at: t, order: w.puts, client: client, kind: k, turn: w.clients[client].turn})
}

func (w *world) instant(now time.Duration) session.Instant {
	return session.Instant{Mono: now, Wall: w.wall.Add(now)}
}

// clock converts a simulated time to the time on a client's clock.
func (w *world) clock(now time.Duration) time.Time { return w.wall.Add(now).Time() }

// left returns the remaining lifetime of the tokens that a client has accepted.
func (w *world) left(c *caller, now time.Duration) time.Duration {
	return c.machine.ExpiresAt().Time().Sub(w.clock(now))
}

func (w *world) play() {
	for len(w.events) > 0 {
		e, _ := heap.Pop(&w.events).(event)
		if e.at > w.Length {
			break
		}
		c := &w.clients[e.client]
		switch {
		case e.kind == breakAll:
			w.breakNodes(e.at)
		case e.turn != c.turn: // the event belongs to a connection that has ended
		case e.kind == begin:
			w.begin(e.client, e.at)
		case e.kind == renew:
			w.renew(e.client, e.at)
		case e.kind == attempt:
			w.attempt(e.client, e.at)
		}
	}
	for i := range w.clients {
		if c := &w.clients[i]; c.away {
			w.outcome.Away++
			w.back(c, w.Length)
		}
	}
	if w.outcome.Broken == 0 {
		w.outcome.LeastLeft = 0
	}
}

func (w *world) begin(i int, now time.Duration) {
	c := &w.clients[i]
	c.session = session.New(session.ResumeClaims{
		Session: strconv.FormatUint(w.rand.Uint64(), 36),
		Terms:   session.Terms{TTL: w.TTL, Until: 1 << 32},
	}, &w.policy, w.instant(now))
	c.machine = client.New(w.clock(now), w.spread)
	c.machine.Wake(w.clock(now))
	c.machine.Opened(w.clock(now))
	w.attach(i, now)
}

// attach simulates an admitted join or resume.
func (w *world) attach(i int, now time.Duration) {
	c, t := &w.clients[i], w.instant(now)
	push := c.session.Attach(session.Tokens{RTC: "t", ExpiresAt: w.lifetime(c, t)}, t)
	m := &client.Message{TokenPrivilege: protocol.FromPush(push), Session: "s", Key: "k", Resumed: push.Seq > 1}
	m.Type = protocol.TypeJoined
	w.deliver(i, m, t)
}

// lifetime returns when tokens minted now expire.
func (w *world) lifetime(c *caller, t session.Instant) session.UnixSec {
	_, expiresAt, err := c.session.NextValidity(t)
	if err != nil { // impossible, since the sessions' terms never end
		panic(err)
	}
	return expiresAt
}

// deliver gives a client a bundle, which its SDK accepts at once.
func (w *world) deliver(i int, m *client.Message, t session.Instant) {
	c := &w.clients[i]
	if step := c.machine.Received(w.clock(t.Mono), m); step.Apply != nil {
		ack := c.machine.Applied(nil).Send
		_, _ = c.session.Ack(*ack.Seq, t) // cannot fail: the bundle was sent
	}
	w.at(c.session.Deadline(), i, renew)
}

// renew simulates the scheduler at a session's deadline.
func (w *world) renew(i int, now time.Duration) {
	c, t := &w.clients[i], w.instant(now)
	if task, _ := c.session.TakeTask(t); task != session.Renew {
		w.at(max(now+time.Millisecond, c.session.Deadline()), i, renew)
		return
	}
	w.outcome.Renewals[now/time.Second]++
	push := c.session.Issue(session.Tokens{RTC: "t", ExpiresAt: w.lifetime(c, t)}, session.CauseSchedule, t)
	c.session.Sent()
	w.deliver(i, &client.Message{TokenPrivilege: protocol.FromPush(push)}, t)
}

// breakNodes stops nodes and breaks all their connections.
func (w *world) breakNodes(now time.Duration) {
	w.outcome.Attempts = make([]int, (w.Length-now)/time.Second+1)
	for i := range w.clients {
		c := &w.clients[i]
		if c.node >= w.Lost || c.session == nil {
			continue
		}
		w.outcome.Broken++
		c.turn++
		c.away = true
		c.session.Detach(c.session.AttachedEpoch(), w.instant(now))
		w.closed(i, now+w.part(w.Notice), protocol.CloseAbnormal)
	}
}

// part returns a random part of d.
func (w *world) part(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rand.Int64N(int64(d)))
}

// closed tells a client that its connection was closed, and schedules its next attempt.
func (w *world) closed(i int, now time.Duration, code protocol.CloseCode) {
	c := &w.clients[i]
	c.machine.Closed(w.clock(now), code)
	w.at(c.machine.Next().Sub(w.clock(0)), i, attempt)
}

// attempt simulates a connection attempt to a node that the load balancer considers healthy.
func (w *world) attempt(i int, now time.Duration) {
	c := &w.clients[i]
	w.outcome.Attempts[(now-w.BreakAt)/time.Second]++
	c.machine.Wake(w.clock(now))
	node, ok := w.balance(now)
	if !ok {
		w.closed(i, now, 0)
		return
	}
	c.machine.Opened(w.clock(now))
	if wait := w.gates[node].Delay(w.clock(now), c.machine.ExpiresAt()); wait > 0 {
		w.outcome.Refused++
		away := &client.Message{AfterMs: wait.Milliseconds()}
		away.Type = protocol.TypeReconnect
		c.machine.Received(w.clock(now), away)
		w.closed(i, now, protocol.CloseOverload)
		return
	}
	c.node = node
	w.back(c, now)
	w.attach(i, now)
}

// balance returns a random node that accepts connections; false if there is none.
func (w *world) balance(now time.Duration) (node int, ok bool) {
	back := 0 // number of lost nodes that accept connections again
	if since := now - w.BreakAt - w.Back; w.Back > 0 && since >= 0 {
		back = w.Lost
		if w.OneByOne > 0 {
			back = min(w.Lost, 1+int(since/w.OneByOne))
		}
	}
	up := back + w.Nodes - w.Lost
	if up == 0 {
		return 0, false
	}
	if node = w.rand.IntN(up); node >= back {
		node += w.Lost - back
	}
	return node, true
}

// back records that a client is back.
func (w *world) back(c *caller, now time.Duration) {
	o := &w.outcome
	left := w.left(c, now)
	o.LeastLeft = min(o.LeastLeft, left)
	if left <= 0 {
		o.RanOut++
	}
	if !c.away {
		return
	}
	c.away = false
	o.BackAfter = now - w.BreakAt // the last client that is back sets the final value
	if o.came++; o.came*2 <= o.Broken+1 {
		o.HalfAfter = o.BackAfter
	}
}

// events is a heap.
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any) {
	if it, ok := x.(event); ok {
		*e = append(*e, it)
	}
}

func (e *events) Pop() any {
	last := len(*e) - 1
	it := (*e)[last]
	*e = (*e)[:last]
	return it
}
