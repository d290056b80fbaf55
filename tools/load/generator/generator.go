package generator

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"refresher/internal/client"
)

// Generator makes the calls of one run.
type Generator struct {
	config  Config
	targets []*url.URL
	stats   stats
	calls   []call
	begun   atomic.Int64  // number of calls that have started
	over    chan struct{} // closed when the calls must leave
	leadMs  atomic.Int64  // the most by which the service's clock was ahead of this machine's
}

// spareFiles is how many file descriptors the process needs in addition to those of the calls.
const spareFiles = 64

// New returns a Generator. It returns an error if a setting is invalid, or if this machine has too few file descriptors
// for the calls.
func New(c Config) (*Generator, error) {
	targets, err := c.check()
	if err != nil {
		return nil, err
	}
	if limit, known := openFiles(); known && c.dial == nil && uint64(c.Calls)+spareFiles > limit {
		return nil, fmt.Errorf("calls: %d need as many file descriptors and %d more, and the limit of this process is %d; raise it by ulimit -n, or run several processes with fewer calls", c.Calls, spareFiles, limit)
	}
	g := &Generator{config: c, targets: targets, calls: make([]call, c.Calls), over: make(chan struct{})}
	g.stats.errors, g.stats.reconnects = make(map[string]uint64), make(map[string]uint64)
	g.leadMs.Store(minLead)
	if g.config.dial == nil {
		g.config.dial = dial
	}
	for i := range g.calls {
		g.calls[i].generator, g.calls[i].n = g, i
	}
	return g, nil
}

const (
	// paceEvery is the interval at which calls begin and connections are cut.
	paceEvery = 10 * time.Millisecond
	tickEvery = time.Second
	// leaveTimeout is how long the calls may take to leave.
	leaveTimeout = 5 * time.Second
	// nobodyAfter is how long Run continues if every connection fails.
	nobodyAfter = 10 * time.Second
	// minLead is the initial value of Generator.leadMs. It is lower than any difference between two clocks.
	minLead = -1 << 62
)

// Run makes the calls, and returns the report when they have ended: after the duration, when ctx ends, or after 10 s in
// which every connection failed.
func (g *Generator) Run(ctx context.Context) Report {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, g.config.Duration)
	defer cancel()
	var running sync.WaitGroup
	pace, tick := time.NewTicker(paceEvery), time.NewTicker(tickEvery)
	defer pace.Stop()
	defer tick.Stop()
	dropped := 0
	for working := true; working; {
		select {
		case <-pace.C:
			since := time.Since(began).Seconds()
			due := min(len(g.calls), int(since*g.config.JoinRate)+1)
			for n := int(g.begun.Load()); n < due; n++ {
				g.calls[n].began = time.Now()
				running.Go(g.calls[n].run)
				g.begun.Store(int64(n + 1))
			}
			for due := int(since * g.config.DropRate); dropped < due; dropped++ {
				g.drop()
			}
			if due == len(g.calls) && g.config.DropRate == 0 {
				pace.Stop()
			}
		case <-tick.C:
			if g.config.Tick != nil {
				g.config.Tick(g.report(began))
			}
			if time.Since(began) > nobodyAfter && g.stats.nobody() {
				working = false
			}
		case <-ctx.Done():
			working = false
		}
	}
	last := g.report(began) // the report has the state of the calls before they leave
	close(g.over)
	begun := g.calls[:g.begun.Load()]
	for i := range begun {
		begun[i].wake()
	}
	cut := time.AfterFunc(leaveTimeout, func() {
		for i := range begun {
			begun[i].breakOff()
		}
	})
	running.Wait()
	cut.Stop()
	end := g.report(began)
	end.Seconds, end.Connected, end.Holding, end.Without = last.Seconds, last.Connected, last.Holding, last.Without
	return end
}

// drop cuts the connection of a random call like a network failure.
func (g *Generator) drop() {
	if n := int(g.begun.Load()); n > 0 && g.calls[rand.IntN(n)].breakOff() { //nolint:gosec // a choice, not a secret
		g.stats.drops.Add(1)
	}
}

// report returns the counts since the start, and the state of all calls now.
func (g *Generator) report(began time.Time) Report {
	r := g.stats.report()
	now := time.Now()
	r.Seconds = now.Sub(began).Seconds()
	begun := g.calls[:g.begun.Load()]
	r.Calls = len(begun)
	for i := range begun {
		switch left, holds := begun[i].left(now); {
		case holds && left > 0:
			r.Holding++
		case holds: // the tokens have expired, and the call has not got new ones yet
			r.RanOut++
			r.LostSeconds -= left.Seconds()
		case begun[i].without(now):
			r.Without++
		}
	}
	return r
}

func (g *Generator) isOver() bool {
	select {
	case <-g.over:
		return true
	default:
		return false
	}
}

// callsPerSource is how many calls of this process share a source address. From one address to one target, Linux first
// uses the 14,116 even ephemeral ports. When these are in use, it searches all of them before it tries an odd one, and
// a connection takes a millisecond instead of 20 µs.
const callsPerSource = 5000

// source returns the loopback address 127.x.y.z of call n. The address contains the process id, so that several
// generators on one machine have different addresses.
func source(n int) *net.TCPAddr {
	pid := os.Getpid()
	return &net.TCPAddr{IP: net.IPv4(127, byte(1+pid>>8%254), byte(pid), byte(1+n/callsPerSource))}
}

// dial connects.
func dial(n int, target *url.URL) (net.Conn, error) {
	// Keep-alive probes are off. Go would send them every 15 s of silence, which is more often than the heartbeats;
	// browsers send none.
	dialer := net.Dialer{Timeout: client.AnswerTimeout, KeepAlive: -1}
	host, port := target.Hostname(), target.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[target.Scheme]
	}
	// Only Linux has loopback addresses besides 127.0.0.1.
	if ip := net.ParseIP(host); runtime.GOOS == "linux" && (host == "localhost" || ip != nil && ip.IsLoopback() && ip.To4() != nil) {
		dialer.LocalAddr = source(n)
	}
	ctx := context.Background() // the dialer has the timeout
	address := net.JoinHostPort(host, port)
	if target.Scheme == "wss" {
		return (&tls.Dialer{NetDialer: &dialer}).DialContext(ctx, "tcp", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}
