package generator

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/test/redistest"
)

// BenchmarkNode reports what calls cost a node, kernel included, and Redis. All
// but memory is processor time, which other work on the machine hardly changes.
//
//	cpu-µs/join       a call begins: TCP, handshake, join, two tokens, its ack
//	cpu-µs/resume     the same for one whose connection broke
//	cpu-µs/renewal    by schedule: two tokens, a push, its ack
//	cpu-µs/heartbeat  a ping and its pong
//	cpu-µs/refusal    a call that is told to come again, by --join-rate
//	cpu-µs/s          the node's own rounds, taken off the others
//	rss-B/call        resident memory, with what the collector has not freed yet
//	kernel-B/call     of the kernel's slabs, one end of the connection
//	in-B, out-B       what a call receives and sends, without TCP and TLS
//	redis-…           main thread, memory, network, each way
func BenchmarkNode(b *testing.B) {
	if !testing.Short() { // with Redis it goes the same ways, and more
		b.Run("memory", func(b *testing.B) { measureNode(b, nil) })
	}
	b.Run("redis", func(b *testing.B) { measureNode(b, redistest.Start(b)) })
}

func measureNode(b *testing.B, r *redistest.Server) {
	e := expense{calls: 5_000, joinFor: 5, span: 10, ttl: 12 * time.Second, redis: r}
	if testing.Short() {
		e = expense{calls: 100, joinFor: 1, span: 1, ttl: 4 * time.Second, redis: r}
	}
	e.b, e.redisURL = b, "-"
	if r != nil {
		e.redisURL = r.URL()
	}
	for b.Loop() {
		e.idle()
		e.coming()
		e.refused()
		e.steady("heartbeat", 1, 24*time.Hour, func(r Report) uint64 { return r.Pings })
		e.steady("renewal", 3600, e.ttl, func(r Report) uint64 { return r.Renewals })
	}
}

// expense is what is being measured.
type expense struct {
	b             *testing.B
	redis         *redistest.Server // nil: none
	redisURL      string
	calls         int
	joinFor, span float64 // seconds
	ttl           time.Duration

	idleNode, idleRedis float64 // µs a second of a node with nothing to do
}

func (e *expense) config(n *node, ttl time.Duration) Config {
	return Config{
		URLs: []string{n.url()}, Calls: e.calls, JoinRate: float64(e.calls) / e.joinFor,
		Duration: time.Hour, TTL: ttl, Channels: "load-*",
	}
}

// alone is what Redis uses with no node, in µs a second.
func (e *expense) alone() float64 {
	if e.redis == nil {
		return 0
	}
	before := e.redis.CPU()
	<-time.After(time.Duration(e.span) * time.Second)
	return float64((e.redis.CPU() - before).Microseconds()) / e.span
}

// idle is the cost of a node that has but one call.
func (e *expense) idle() {
	alone := e.alone()
	n := startNode(e.b, 3600, 0, e.redisURL)
	defer n.stop()
	c := e.config(n, 24*time.Hour)
	c.Calls = 1
	g := begin(e.b, c)
	defer g.end()
	first := g.await(func(r Report) bool { return r.Joins == 1 })
	e.idleNode, e.idleRedis = 0, 0
	at := e.measure(n, first)
	last := g.await(func(r Report) bool { return r.Seconds > first.Seconds+e.span })
	now, seconds := e.measure(n, last), last.Seconds-first.Seconds
	e.idleNode = float64((now.cpu - at.cpu).Microseconds()) / seconds
	e.b.ReportMetric(e.idleNode, "cpu-µs/s")
	if e.redis != nil {
		e.idleRedis = float64((now.redisCPU - at.redisCPU).Microseconds()) / seconds
		e.b.ReportMetric(e.idleRedis-alone, "redis-µs/s") // a node's, of Redis
		e.b.ReportMetric(float64(now.in-at.in)/seconds, "redis-in-B/s")
		e.b.ReportMetric(float64(now.out-at.out)/seconds, "redis-out-B/s")
	}
}

// coming is the cost of calls that begin, and that come back.
func (e *expense) coming() {
	n := startNode(e.b, 3600, 0, e.redisURL)
	defer n.stop()
	memory, kernel, held := n.resident(), slab(e.b), redisBytes(e.redis)
	at := e.measure(n, Report{})
	g := begin(e.b, e.config(n, 24*time.Hour))
	defer g.end()
	last := g.await(func(r Report) bool { return r.Joins >= uint64(e.calls) })
	at.report(last, "join", e.calls)
	per := func(bytes int64, what string) { e.b.ReportMetric(float64(bytes)/float64(e.calls), what) }
	per(n.resident()-memory, "rss-B/call")
	per((slab(e.b)-kernel)/2, "kernel-B/call")
	if e.redis != nil {
		per(redisBytes(e.redis)-held, "redis-B/call")
	}
	at = e.measure(n, last)
	for i := range g.calls {
		g.calls[i].breakOff()
	}
	last = g.await(func(r Report) bool { return r.Resumes >= uint64(e.calls) })
	at.report(last, "resume", int(last.Resumes))
}

// refused is the cost of calls that are sent away.
func (e *expense) refused() {
	n := startNode(e.b, 3600, 0.001, e.redisURL)
	defer n.stop()
	count := func(r Report) uint64 { return r.Errors["reconnect_overload"] }
	at := e.measure(n, Report{})
	g := begin(e.b, e.config(n, 24*time.Hour))
	defer g.end()
	last := g.await(func(r Report) bool { return count(r)+1 >= uint64(e.calls) })
	at.report(last, "refusal", int(count(last)))
}

// steady is the cost of calls that go on.
func (e *expense) steady(name string, heartbeat int, ttl time.Duration, done func(Report) uint64) {
	n := startNode(e.b, heartbeat, 0, e.redisURL)
	defer n.stop()
	g := begin(e.b, e.config(n, ttl))
	defer g.end()
	first := g.await(func(r Report) bool { return r.Joins >= uint64(e.calls) && done(r) > uint64(e.calls) })
	at := e.measure(n, first)
	last := g.await(func(r Report) bool { return r.Seconds > first.Seconds+e.span })
	at.report(last, name, int(done(last)-done(first)))
}

// generator is one that runs.
type generator struct {
	*Generator
	b     *testing.B
	ticks chan Report
	stop  context.CancelFunc
	done  chan struct{}
	last  Report
}

func begin(b *testing.B, c Config) *generator {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	g := &generator{b: b, ticks: make(chan Report), stop: stop, done: make(chan struct{})}
	c.Tick = func(r Report) {
		select {
		case g.ticks <- r:
		case <-ctx.Done():
		}
	}
	var err error
	if g.Generator, err = New(c); err != nil {
		b.Fatal(err)
	}
	go func() {
		defer close(g.done)
		g.last = g.Run(ctx)
	}()
	return g
}

// await waits for a second in which it is so.
func (g *generator) await(so func(Report) bool) Report {
	for {
		if r := <-g.ticks; so(r) {
			return r
		}
	}
}

func (g *generator) end() {
	g.stop()
	<-g.done
	if g.last.RanOut > 0 || g.last.SeqFell > 0 || g.last.Refused > 0 {
		g.b.Errorf("%+v", g.last)
	}
}

// moment is what had been used by then.
type moment struct {
	*expense
	node     *node
	when     time.Time
	seen     Report
	cpu      time.Duration
	redisCPU time.Duration
	in, out  int64
	commands int64
}

func (e *expense) measure(n *node, seen Report) moment {
	m := moment{expense: e, node: n, when: time.Now(), seen: seen, cpu: n.cpu()}
	if r := e.redis; r != nil {
		m.redisCPU, m.commands = r.CPU(), r.Commands()
		m.in, m.out = redisNumber(r, "total_net_input_bytes"), redisNumber(r, "total_net_output_bytes")
	}
	return m
}

// report tells what count of something have used since, beyond what an idle node
// uses.
func (m moment) report(seen Report, name string, count int) {
	per := func(n float64, unit string) { m.b.ReportMetric(n/float64(count), unit+"/"+name) }
	now := m.measure(m.node, seen)
	seconds := now.when.Sub(m.when).Seconds()
	per(float64((now.cpu-m.cpu).Microseconds())-m.idleNode*seconds, "cpu-µs")
	per(float64(seen.BytesIn-m.seen.BytesIn), "in-B")
	per(float64(seen.BytesOut-m.seen.BytesOut), "out-B")
	if m.redis != nil {
		per(float64((now.redisCPU-m.redisCPU).Microseconds())-m.idleRedis*seconds, "redis-µs")
		per(float64(now.in-m.in), "redis-in-B")
		per(float64(now.out-m.out), "redis-out-B")
	}
}

func redisBytes(r *redistest.Server) int64 {
	if r == nil {
		return 0
	}
	return r.UsedMemory()
}

func redisNumber(r *redistest.Server, name string) int64 {
	for line := range strings.Lines(r.Do("INFO", "stats")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// slab is what the kernel holds in slabs, sockets among them.
func slab(b *testing.B) int64 { return kilobytes(b, "/proc/meminfo", "Slab:") }
