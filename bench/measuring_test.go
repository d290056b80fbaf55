//go:build linux

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/test/redistest"
)

// manyCalls returns the number of clients in a measurement on a busy server, and pacedCalls the number in a
// measurement with a pause before each client.
func manyCalls() int  { return size(5000, 50) }
func pacedCalls() int { return size(1500, 20) }

const (
	atOnce = 64               // clients at the same time, which keep the server busy
	paced  = time.Millisecond // interval between two clients, so long that the server is idle when the next one comes
	settle = 200 * time.Millisecond
)

type measuring struct {
	*testing.B
	server server
	table  *table

	process *process
	redis   *redistest.Server // nil if the server uses no Redis
	clients *clients
	idle    usage // usage in a second in which all clients are silent
}

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

func (m *measuring) record(o operation, value float64) { m.table.record(o, m.server, value) }

// usage is what a server, its clients and Redis have used: in total, or for each operation.
type usage struct {
	cpu, redis        float64 // µs
	in, out           float64 // bytes that the clients received and sent, with WebSocket framing and the handshake
	redisIn, redisOut float64 // bytes that Redis received and sent
	seconds           float64
}

// use returns what the server used while the function `do` ran. It subtracts what an idle server uses in that time.
func (m *measuring) use(do func() error) (usage, error) {
	before := m.used()
	if err := do(); err != nil {
		return usage{}, err
	}
	after := m.used()
	seconds := after.seconds - before.seconds
	return usage{
		cpu:      after.cpu - before.cpu - m.idle.cpu*seconds,
		redis:    after.redis - before.redis - m.idle.redis*seconds,
		in:       after.in - before.in,
		out:      after.out - before.out,
		redisIn:  after.redisIn - before.redisIn - m.idle.redisIn*seconds,
		redisOut: after.redisOut - before.redisOut - m.idle.redisOut*seconds,
		seconds:  seconds,
	}, nil
}

// used returns what the server, its clients and Redis have used since the server started.
func (m *measuring) used() usage {
	u := usage{
		seconds: time.Since(processBegan).Seconds(), cpu: float64(m.process.cpu().Nanoseconds()) / 1000,
		in: float64(m.clients.in), out: float64(m.clients.out),
	}
	if m.redis != nil {
		u.redis = float64(m.redis.CPU().Microseconds())
		received, sent := m.redis.Traffic()
		u.redisIn, u.redisOut = float64(received), float64(sent)
	}
	return u
}

var processBegan = time.Now()

// cost runs the function `do`, which does `count` operations, and measures what one operation uses. If `unit` is not
// empty, such as "join", the output of the Go benchmark also has the figures, which the planner needs.
func (m *measuring) cost(o operation, unit string, count int, do func() error) error {
	u, err := m.use(func() error {
		profiled := m.process.profile(m.server.name, o)
		err := do()
		pause(settle)
		return errors.Join(err, <-profiled)
	})
	if err != nil {
		return err
	}
	m.report(o, unit, float64(count), u)
	return nil
}

func (m *measuring) report(o operation, unit string, count float64, u usage) {
	m.record(o, u.cpu/count)
	if m.redis != nil {
		m.record(o.redis(), u.redis/count)
	}
	if unit != "" {
		m.metrics(unit, count, u)
	}
}

func (m *measuring) metrics(unit string, count float64, u usage) {
	for name, value := range map[string]float64{
		"cpu-µs/": u.cpu, "in-B/": u.in, "out-B/": u.out,
		"redis-µs/": u.redis, "redis-in-B/": u.redisIn, "redis-out-B/": u.redisOut,
	} {
		if m.redis != nil || !strings.HasPrefix(name, "redis") {
			m.ReportMetric(value/count, name+unit)
		}
	}
}

// calls measures connections: how they begin, their messages, how clients reconnect, and their memory.
func calls(m *measuring) error {
	if err := m.start(choice{}); err != nil {
		return err
	}
	warm := m.clients.more(atOnce) // what a server sets up only once is set up for these clients, which are not measured
	for _, steps := range [][]step{connecting, renewing, pinging, reconnecting} {
		if err := m.clients.run(steps, warm, len(warm), len(warm), 0); err != nil {
			return err
		}
	}
	before, err := m.process.memory(true)
	if err != nil {
		return err
	}
	first := m.clients.more(manyCalls())
	err = m.cost(connectionBusy, "", len(first), func() error { return m.clients.run(connecting, first, len(first), atOnce, 0) })
	if err != nil {
		return err
	}
	if err := m.joined(before); err != nil {
		return err
	}
	if err := m.idleness(); err != nil {
		return err
	}
	for _, o := range []struct {
		name  operation
		unit  string
		steps []step
		who   []*call
		count int
		every time.Duration
	}{
		{heartbeatBusy, "", pinging, first, 4 * len(first), 0},
		{heartbeatPaced, "heartbeat", pinging, first, 3 * pacedCalls(), paced / 5},
		{askedBusy, "", renewing, first, len(first), 0},
		{connectionPaced, "join", connecting, m.clients.more(pacedCalls()), pacedCalls(), paced},
		{askedPaced, "", renewing, first, pacedCalls(), paced},
		{backBusy, "", reconnecting, first, len(first), 0},
		{backPaced, "resume", reconnecting, first, pacedCalls(), paced},
	} {
		if err := m.cost(o.name, o.unit, o.count, func() error { return m.clients.run(o.steps, o.who, o.count, atOnce, o.every) }); err != nil {
			return err
		}
	}
	return m.memory(before)
}

func (m *measuring) idleness() error {
	pause(settle)
	u, err := m.use(func() error {
		pause(time.Duration(size(2000, 300)) * time.Millisecond)
		return nil
	})
	if err != nil {
		return err
	}
	m.idle = usage{cpu: u.cpu / u.seconds, redis: u.redis / u.seconds, redisIn: u.redisIn / u.seconds, redisOut: u.redisOut / u.seconds}
	m.record(idleNode, m.idle.cpu/1000)
	m.metrics("s", u.seconds, u)
	return nil
}

// joined measures the memory of connections that have only joined.
func (m *measuring) joined(before memory) error {
	after, err := m.process.memory(false)
	count := float64(manyCalls())
	resident, kernel := float64(after.resident-before.resident)/count, float64(after.kernel-before.kernel)/2/count
	m.record(memoryJoined, resident)
	m.record(memoryKernel, kernel) // half of the growth belongs to the sockets of the clients, which run on the same machine
	m.ReportMetric(resident, "rss-B/call")
	m.ReportMetric(kernel, "kernel-B/call")
	return err
}

// memory measures the memory of each connection after all other operations.
func (m *measuring) memory(before memory) error {
	after, err := m.process.memory(true)
	count := float64(len(m.clients.all) - atOnce)
	m.record(memoryUsed, float64(after.used-before.used)/count)
	m.record(memoryResident, float64(after.resident-before.resident)/count)
	return err
}

// refusals measures what it costs to refuse a client.
func refusals(m *measuring) error {
	if err := m.start(choice{Refuse: true}); err != nil {
		return err
	}
	// A refresher that is set to refuse all clients still admits the first one. This client is the first, so that the
	// measurement counts refusals only.
	if err := m.clients.run(refused[:1], m.clients.more(1), 1, 1, 0); err != nil {
		return err
	}
	_ = m.clients.join(m.clients.all[0])
	pause(settle)
	m.clients.disconnect(m.clients.all[0])
	busy, quiet := m.clients.more(manyCalls()), m.clients.more(pacedCalls())
	err := m.cost(refusalBusy, "", len(busy), func() error { return m.clients.run(refused, busy, len(busy), atOnce, 0) })
	if err != nil {
		return err
	}
	return m.cost(refusalPaced, "refusal", len(quiet), func() error { return m.clients.run(refused, quiet, len(quiet), 0, paced) })
}

// schedule measures scheduled renewals, about 1,300 a second.
func schedule(m *measuring) error {
	if err := m.start(choice{Schedule: true}); err != nil {
		return err
	}
	var lags progress
	pushes := 0
	m.clients.ttl = int(shortLife.Seconds())
	m.clients.onPush = func(c *call, message []byte) {
		pushes++
		if bytes.Contains(message, []byte(`"cause":"schedule"`)) {
			lags.add(time.Since(c.due(message)))
		}
	}
	if err := m.clients.run(connecting, m.clients.more(manyCalls()), manyCalls(), 0, paced); err != nil {
		return err
	}
	if err := m.clients.listen(soonest); err != nil { // wait until the joins no longer load the server
		return err
	}
	pushes = 0
	lags.take()
	listen := func() error { return m.clients.listen(scheduleSpan()) }
	return m.late(listen, func() (lateness, error) {
		l := lags.take()
		l.Count = pushes
		return l, nil
	})
}

// due returns the time at which the renewal in a pushed message was due, by refresher's schedule.
func (c *call) due(message []byte) time.Time {
	const headStart = shortLife / 2
	if c.jitter == 0 {
		c.jitter = session.Jitter(c.session, headStart)
	}
	return time.Unix(int64(number(message, `"previousExpiresAt":`)), 0).Add(-headStart - c.jitter)
}

// scheduleSpan is how long scheduled renewals are measured.
func scheduleSpan() time.Duration { return time.Duration(size(10, 2)) * time.Second }

// queue measures renewals by a task queue, which pushes nothing to clients. By default it looks for due tasks every 5
// s.
func queue(m *measuring) error {
	if err := m.start(choice{Count: manyCalls()}); err != nil {
		return err
	}
	pause(time.Duration(size(6, 1)) * time.Second)
	look := func() (l lateness, err error) {
		text, err := m.process.request(progressPrefix)
		if err != nil {
			return l, err
		}
		return l, json.Unmarshal([]byte(text), &l)
	}
	if _, err := look(); err != nil {
		return err
	}
	return m.late(func() error { pause(max(scheduleSpan(), 5*time.Second)); return nil }, look)
}

// late measures the scheduled renewals while the function `wait` runs: how many renewals there are, what each of them
// uses, and how late each is. The function `look` returns how late they were.
func (m *measuring) late(wait func() error, look func() (lateness, error)) error {
	u, err := m.use(func() error {
		profiled := m.process.profile(m.server.name, scheduleCost)
		return errors.Join(wait(), <-profiled)
	})
	if err != nil {
		return err
	}
	l, err := look()
	if err != nil {
		return err
	}
	if l.Count == 0 {
		return errors.New("nothing was renewed")
	}
	m.record(scheduleRate, float64(l.Count)/u.seconds)
	m.report(scheduleCost, "renewal", float64(l.Count), u)
	if l.P999 != 0 { // the control server sends no due times, so its lateness is unknown
		m.record(lagMedian, l.P50)
		m.record(lagP99, l.P99)
		m.record(lagP999, l.P999)
	}
	return nil
}

// requests measures requests for an RTC and an RTM token at an endpoint of the classic token servers, over persistent
// connections.
func requests(m *measuring) error {
	if err := m.start(choice{}); err != nil {
		return err
	}
	who, count := m.clients.more(atOnce), size(2000, 64)
	if err := m.clients.run(dialing, who, len(who), atOnce, 0); err != nil {
		return err
	}
	if err := m.clients.run(requesting, who, len(who), atOnce, 0); err != nil { // the first request on a connection is not measured
		return err
	}
	return m.cost(requestBusy, "", count, func() error { return m.clients.run(requesting, who, count, atOnce, 0) })
}

// minting records the processor time in which a child process without a server mints an RTC and an RTM token.
func minting(m *measuring) error {
	p, err := m.server.start(m.B, choice{Count: size(2000, 20)})
	if err != nil {
		return err
	}
	micros, err := strconv.ParseFloat(p.address, 64)
	m.record(mintPair, micros)
	return err
}
