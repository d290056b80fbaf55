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

const (
	maxSimulated = 1_000_000
	maxSpan      = 48 * time.Hour
)

// Scenario is the input of Simulate: calls begin, are renewed, and lose their connections once.
type Scenario struct {
	Seed     uint64
	Sessions int
	Nodes    int
	TTL      time.Duration
	// RenewBefore is how long before their expiry tokens are renewed; 0 means the default.
	RenewBefore time.Duration
	// StartOver is the time in which the calls begin, evenly.
	StartOver time.Duration
	// Length is the time that is simulated.
	Length time.Duration
	// JoinRate is how many joins and resumes a node admits in a second; 0 means any number.
	JoinRate float64

	// BreakAt is when connections break; 0 means never. Lost is the number of nodes whose connections break. After the
	// time Back these lost nodes accept connections again; 0 means never.
	BreakAt time.Duration
	Lost    int
	Back    time.Duration
	// OneByOne is the time that the load balancer takes to find each further one of the lost nodes again.
	OneByOne time.Duration
	// Notice is the longest time until a client notices the break; each client takes a random part of it.
	Notice time.Duration
}

// Outcome is what Simulate has counted.
type Outcome struct {
	// Renewals has the number of scheduled renewals in each second.
	Renewals []int
	// Attempts has the number of attempts to connect in each second from the break on. Refused is how many of them a
	// node refused.
	Attempts []int
	Refused  int
	Broken   int
	// BackAfter is the time from the break until all clients had reconnected, HalfAfter until half of them had. Away is
	// the number of calls that had not reconnected at the end.
	BackAfter, HalfAfter time.Duration
	Away                 int
	// RanOut is the number of calls whose tokens expired. LeastLeft is the least remaining lifetime of tokens when a
	// call had reconnected; it is negative if they had expired.
	RanOut    int
	LeastLeft time.Duration

	came int // calls that have reconnected
}

// Mean returns the average number of renewals in a second between two times.
func (o *Outcome) Mean(from, to time.Duration) float64 {
	sum := 0
	seconds := o.Renewals[from/time.Second : to/time.Second]
	for _, n := range seconds {
		sum += n
	}
	return float64(sum) / float64(len(seconds))
}

// Peak returns the largest number of renewals in a second between two times.
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
		return errors.New("lost: want fewer nodes than the cluster has, so that one can accept the calls")
	case !(s.JoinRate >= 0) || s.RenewBefore < 0 || s.Notice < 0 || s.Back < 0 || s.OneByOne < 0 || s.BreakAt < 0:
		return errors.New("want a rate and a duration of 0 or more")
	}
	return nil
}

const minTTL = 3 * time.Second

// Simulate simulates a scenario. The same scenario always has the same outcome.
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
	// The wall clock begins at a random time within a second, since expiries are rounded to whole seconds.
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

type kind uint8

const (
	begin    kind = iota // a call begins
	renew                // the deadline of a session has come
	breakAll             // connections break
	attempt              // a client tries to connect
)

type event struct {
	at     time.Duration
	order  int // for events of the same moment: the order in which they were added
	client int
	kind   kind
	turn   int // the event counts only if this is still the value of the call's field turn
}

// caller is a call: the state machine of its client, and its session.
type caller struct {
	machine client.Machine
	session *session.Session
	node    int
	turn    int // incremented by each change of the connection
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
	spread  func(time.Duration) time.Duration // random part of a duration, for the clients' backoff
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

// clock returns the wall clock at a simulated time.
func (w *world) clock(now time.Duration) time.Time { return w.wall.Add(now).Time() }

// left returns the remaining lifetime of the tokens that the client has accepted.
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
		case e.turn != c.turn: // the event is about a connection that has ended
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

// attach simulates a join or a resume that a node admits.
func (w *world) attach(i int, now time.Duration) {
	c, t := &w.clients[i], w.instant(now)
	push := c.session.Attach(session.Tokens{RTC: "t", ExpiresAt: w.lifetime(c, t)}, t)
	m := &client.Message{TokenPrivilege: protocol.FromPush(push), Session: "s", Key: "k", Resumed: push.Seq > 1}
	m.Type = protocol.TypeJoined
	w.deliver(i, m, t)
}

// lifetime returns when tokens that are minted now will expire.
func (w *world) lifetime(c *caller, t session.Instant) session.UnixSec {
	_, expiresAt, err := c.session.NextValidity(t)
	if err != nil { // impossible: no session here has an end
		panic(err)
	}
	return expiresAt
}

// deliver gives a bundle to a client, whose SDK accepts it at once.
func (w *world) deliver(i int, m *client.Message, t session.Instant) {
	c := &w.clients[i]
	if step := c.machine.Received(w.clock(t.Mono), m); step.Apply != nil {
		ack := c.machine.Applied(nil).Send
		_, _ = c.session.Ack(*ack.Seq, t) // impossible: the session has sent this bundle
	}
	w.at(c.session.Deadline(), i, renew)
}

// renew simulates the scheduler at the deadline of a session.
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

// breakNodes breaks all connections of nodes, and stops the nodes.
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

// part returns a random duration up to d.
func (w *world) part(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rand.Int64N(int64(d)))
}

// closed tells a client that its connection has ended, and schedules its next attempt.
func (w *world) closed(i int, now time.Duration, code protocol.CloseCode) {
	c := &w.clients[i]
	c.machine.Closed(w.clock(now), code)
	w.at(c.machine.Next().Sub(w.clock(0)), i, attempt)
}

// attempt simulates an attempt to connect, to a node that the load balancer has found.
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

// balance returns a random node that accepts connections, or false if there is none.
func (w *world) balance(now time.Duration) (node int, ok bool) {
	back := 0 // lost nodes that accept connections again
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

// back records that a client has reconnected, and when.
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
	o.BackAfter = now - w.BreakAt // the last client sets the final value
	if o.came++; o.came*2 <= o.Broken+1 {
		o.HalfAfter = o.BackAfter
	}
}

// events is a heap, whose first event is the next one.
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
