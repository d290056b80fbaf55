//go:build linux

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"refresher/test/redistest"
	"refresher/tools/plan/planner"
)

// How much is measured. The numbers of a full run, and of one that only shows that it works.
func manyCalls() int { return size(5000, 50) }
func fewCalls() int  { return size(600, 20) }

const (
	atOnce = 64                   // clients in a closed loop: the server is busy
	paced  = 5 * time.Millisecond // between two clients, of which each finds the server idle
	settle = 200 * time.Millisecond
)

// measuring is one server's turn.
type measuring struct {
	*testing.B
	server server
	table  *table

	process *process
	redis   *redistest.Server // nil: none
	clients *clients
	idle    float64 // µs a second that the server uses with all clients silent
}

// start runs the server, and prepares clients of it.
func (m *measuring) start(c choice) (err error) {
	if m.server.redis {
		m.redis = redistest.Start(m)
		c.Redis = m.redis.Addr()
	}
	if m.process, err = m.server.start(m.B, c); err != nil {
		return err
	}
	m.clients, err = newClients(m.server.dialect, m.process.address)
	if err == nil {
		m.Cleanup(m.clients.close)
	}
	return err
}

func (m *measuring) record(operation operation, value float64) {
	m.table.record(operation, m.server, value)
}

// cost reports the processor time for each of count things that do does, less what an idle server uses.
func (m *measuring) cost(operation operation, count int, do func() error) error {
	began, cpu, redis := time.Now(), m.process.cpu(), m.redisCPU()
	if err := do(); err != nil {
		return err
	}
	pause(settle)
	used := float64((m.process.cpu()-cpu).Nanoseconds())/1000 - m.idle*time.Since(began).Seconds()
	m.record(operation, used/float64(count))
	if m.redis != nil {
		m.record(operation.redis(), float64((m.redisCPU()-redis).Microseconds())/float64(count))
	}
	return nil
}

func (m *measuring) redisCPU() time.Duration {
	if m.redis == nil {
		return 0
	}
	return m.redis.CPU()
}

// calls measures connections: how they begin, what they exchange, how they come back, and what they take.
func calls(m *measuring) error {
	if err := m.start(choice{}); err != nil {
		return err
	}
	before, err := m.process.memory()
	if err != nil {
		return err
	}
	first := m.clients.more(manyCalls())
	err = m.cost(connectionBusy, len(first), func() error { return m.clients.run(connecting, first, len(first), atOnce, 0) })
	if err != nil {
		return err
	}
	m.idleness()
	for _, o := range []struct {
		name  operation
		steps []step
		who   []*call
		count int
		every time.Duration
	}{
		{heartbeatBusy, pinging, first, 4 * len(first), 0},
		{heartbeatIdle, pinging, first, fewCalls(), paced},
		{askedBusy, renewing, first, len(first), 0},
		{askedIdle, renewing, first, fewCalls(), paced},
		{connectionIdle, connecting, m.clients.more(fewCalls()), fewCalls(), paced},
		{backBusy, comingBack, first, len(first), 0},
		{backIdle, comingBack, first, fewCalls(), paced},
	} {
		if err := m.cost(o.name, o.count, func() error { return m.clients.run(o.steps, o.who, o.count, atOnce, o.every) }); err != nil {
			return err
		}
	}
	return m.memory(before)
}

// idleness measures what a server does while nobody says anything.
func (m *measuring) idleness() {
	pause(settle)
	began, cpu := time.Now(), m.process.cpu()
	pause(time.Duration(size(3000, 300)) * time.Millisecond)
	m.idle = float64((m.process.cpu() - cpu).Microseconds()) / time.Since(began).Seconds()
	m.record(idleNode, m.idle/1000)
}

// memory measures what a connection takes, after it has been used for all of the above.
func (m *measuring) memory(before memory) error {
	after, err := m.process.memory()
	count := float64(len(m.clients.all))
	m.record(memoryUsed, float64(after.used-before.used)/count)
	m.record(memoryResident, float64(after.resident-before.resident)/count)
	m.record(memoryKernel, float64(after.kernel-before.kernel)/2/count) // the other half is of the clients
	return err
}

// refusals measures clients that are turned away.
func refusals(m *measuring) error {
	if err := m.start(choice{Refuse: true}); err != nil {
		return err
	}
	// Refresher takes the first.
	if err := m.clients.run(refused[:1], m.clients.more(1), 1, 1, 0); err != nil {
		return err
	}
	_ = m.clients.join(m.clients.all[0])
	pause(settle)
	who := m.clients.more(manyCalls())
	return m.cost(refusalBusy, len(who), func() error { return m.clients.run(refused, who, len(who), atOnce, 0) })
}

// schedule measures renewals that fall due by themselves, some 1,300 a second.
func schedule(m *measuring) error {
	if err := m.start(choice{Schedule: true}); err != nil {
		return err
	}
	m.clients.ttl = int(shortLife.Seconds())
	if err := m.clients.run(connecting, m.clients.more(manyCalls()), manyCalls(), 0, time.Millisecond); err != nil {
		return err
	}
	var lags progress
	pushes := 0
	told := func(c *call, message []byte) {
		if bytes.Contains(message, []byte(`"token-privilege-will-expire"`)) {
			pushes++
		}
		if bytes.Contains(message, []byte(`"cause":"schedule"`)) {
			lags.add(time.Since(c.due(message)))
		}
	}
	if err := m.clients.listen(soonest+spread, told); err != nil { // until it is as it will be
		return err
	}
	pushes = 0
	lags.take()
	listen := func() error { return m.clients.listen(scheduleSpan(), told) }
	return m.late(listen, func() (lateness, error) {
		l := lags.take()
		l.Count = pushes
		return l, nil
	})
}

// due is when a renewal was due that a message pushes, by the rule of sessions.
func (c *call) due(message []byte) time.Time {
	const headStart = shortLife / 2
	if c.jitter == 0 {
		c.jitter = planner.Jitter(c.session, headStart)
	}
	return time.Unix(int64(number(message, `"previousExpiresAt":`)), 0).Add(-headStart - c.jitter)
}

// scheduleSpan is for how long renewals by schedule are measured.
func scheduleSpan() time.Duration { return time.Duration(size(15, 6)) * time.Second }

// queue measures the same of a queue of tasks, which pushes nothing to anybody.
func queue(m *measuring) error {
	if err := m.start(choice{Count: manyCalls()}); err != nil {
		return err
	}
	pause(soonest + spread)
	look := func() (l lateness, err error) {
		text, err := m.process.ask(progressSay)
		if err != nil {
			return l, err
		}
		return l, json.Unmarshal([]byte(text), &l)
	}
	if _, err := look(); err != nil {
		return err
	}
	return m.late(func() error { pause(scheduleSpan()); return nil }, look)
}

// late reports how many renewals there are while wait waits, what one costs, and how late they are.
func (m *measuring) late(wait func() error, look func() (lateness, error)) error {
	began, cpu, redis := time.Now(), m.process.cpu(), m.redisCPU()
	if err := wait(); err != nil {
		return err
	}
	seconds, used, redisUsed := time.Since(began).Seconds(), m.process.cpu()-cpu, m.redisCPU()-redis
	l, err := look()
	if err != nil {
		return err
	}
	if l.Count == 0 {
		return errors.New("nothing was renewed")
	}
	m.record(scheduleRate, float64(l.Count)/seconds)
	m.record(scheduleCost, float64(used.Nanoseconds())/1000/float64(l.Count))
	if m.redis != nil {
		m.record(scheduleCost.redis(), float64(redisUsed.Microseconds())/float64(l.Count))
	}
	if l.P999 != 0 { // the control row has no times that renewals are due at
		m.record(lagMedian, l.P50)
		m.record(lagP99, l.P99)
		m.record(lagP999, l.P999)
	}
	return nil
}

// requests measures classic requests for an RTC and an RTM token, over kept connections.
func requests(m *measuring) error {
	if err := m.start(choice{}); err != nil {
		return err
	}
	who, count := m.clients.more(atOnce), size(2000, 64)
	if err := m.clients.run(dialing, who, len(who), atOnce, 0); err != nil {
		return err
	}
	if err := m.clients.run(requesting, who, len(who), atOnce, 0); err != nil { // the first of each connection
		return err
	}
	return m.cost(requestBusy, count, func() error { return m.clients.run(requesting, who, count, atOnce, 0) })
}

// minting measures a builder of tokens alone, by its own account.
func minting(m *measuring) error {
	p, err := m.server.start(m.B, choice{Count: size(2000, 20)})
	if err != nil {
		return err
	}
	micros, err := strconv.ParseFloat(p.address, 64)
	m.record(mintPair, micros)
	return err
}
