package ws

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/origin"
	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/ws/admission"
)

// Sessions attaches connections to sessions.
type Sessions interface {
	Join(context.Context, session.Join, session.Client) (session.Attachment, error)
	// Open decrypts r's resume key and stores its claims in r. It returns the same errors as Resume.
	Open(r *session.Resume) error
	Resume(context.Context, session.Resume, session.Client) (session.Attachment, error)
}

// Access authenticates clients and limits their rates. It is safe for concurrent use.
type Access interface {
	// Authenticate returns the caller that the credential names. The credential is empty if the client sent
	// none. The error is a *session.Error; its code is CodeRateLimited if the caller exceeds its rate.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// RateLimit returns how long a client with this address must wait before it may join or resume; 0 admits the
	// client now.
	RateLimit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client that made a request, even if trusted proxies forwarded it.
	ClientAddr(r *http.Request) netip.Addr
}

// Config configures a Hub. Fields are required unless their comment says otherwise.
type Config struct {
	Sessions Sessions
	Access   Access
	// Heartbeat is the longest time between two heartbeats of a client, in whole seconds. The node gives clients with
	// short-lived tokens a shorter interval. It closes a connection after two heartbeats without a message, or after
	// four if the client answers WebSocket pings.
	Heartbeat time.Duration
	// JoinRate is how many joins and resumes are admitted per second. Clients over this rate are told when to retry.
	// 0 means no limit.
	JoinRate float64
	Origins  *origin.Checker
	// Panics reports a panic while a connection is handled. If Panics is nil, a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// shardCount is the number of shards over which the connections are distributed. A sweep locks one shard at a time, so
// that it delays new connections only briefly.
const shardCount = 64

// The deadline of each connection is checked once per sweepEvery. In this time the sweeping goroutine wakes up `sweeps`
// times, and each time checks shardCount/sweeps shards. With 5,000 idle connections, 64 wake-ups took 18 ms of CPU time
// a second; four wake-ups take 5 ms.
const (
	sweepEvery = time.Second
	sweeps     = 4
)

// Hub holds all WebSocket connections of a node. It is an http.Handler that upgrades requests.
type Hub struct {
	config       Config
	writeTimeout time.Duration // tests with real sockets shorten it
	metrics      *metrics
	began        time.Time            // origin of the hub's clock
	admission    *admission.Admission // nil means no limit
	lead         time.Duration        // sweeps check the connections whose deadline is at most this far away
	seed         maphash.Seed

	running  sync.WaitGroup // counts the goroutines of all connections, including those of inBackground
	drainsBy atomic.Int64   // end of the drain, on the hub's clock; 0 if the hub is not draining
	shards   [shardCount]shard
}

// New returns a Hub. The error says which setting is wrong.
func New(c Config) (*Hub, error) {
	if c.Heartbeat < time.Second {
		return nil, errors.New("heartbeat: want at least 1s")
	}
	if !(c.JoinRate >= 0) || math.IsInf(c.JoinRate, 1) {
		return nil, errors.New("join-rate: want 0 (unlimited) or more")
	}
	h := &Hub{config: c, writeTimeout: protocol.WriteTimeout, began: time.Now(), seed: maphash.MakeSeed(), lead: probeLead(c.Heartbeat)}
	h.metrics = newMetrics(c.Registerer, h.open)
	if c.JoinRate > 0 {
		h.admission = admission.New(c.JoinRate, spread)
	}
	return h, nil
}

// ServeHTTP upgrades a request and returns; the connection continues in its own goroutine.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.config.Origins.Allows(r) {
		http.Error(w, "pages of this origin may not connect; allow it with --allowed-origins", http.StatusForbidden)
		return
	}
	growStack()
	c, err := h.accept(w, r)
	if err != nil {
		h.config.Logger.Debug("upgrade refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	if !h.add(c) {
		_ = c.library.CloseNow() // the hub is closed
		return
	}
	go c.serve(nil) // the method add has counted this goroutine in h.running
}

// Run closes connections whose clients are dead, until ctx is done.
func (h *Hub) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery / sweeps)
	defer tick.Stop()
	for round := 0; ; round = (round + 1) % sweeps {
		select {
		case <-tick.C:
			for i := round; i < shardCount; i += sweeps {
				h.sweep(&h.shards[i])
			}
		case <-ctx.Done():
			return
		}
	}
}

func (h *Hub) sweep(s *shard) {
	now := h.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.places() {
		if now >= time.Duration(p.deadline.Load())-h.lead {
			p.conn.checkLiveness(now)
		}
	}
}

// Close closes all open connections at once, refuses new ones, and returns once all goroutines of the hub have ended.
func (h *Hub) Close() {
	for i := range h.shards {
		s := &h.shards[i]
		for _, c := range s.close() {
			c.cut(protocol.CloseGoingAway)
		}
	}
	h.running.Wait()
}

// all returns the open connections. It creates the channel `gone` of each connection. The channel is closed when the
// connection is removed, which Drain waits for.
func (h *Hub) all() []*conn {
	var conns []*conn
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for p := range s.places() {
			if p.conn.gone == nil {
				p.conn.gone = make(chan struct{})
			}
			conns = append(conns, p.conn)
		}
		s.mu.Unlock()
	}
	return conns
}

func (h *Hub) open() float64 {
	n := 0
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return float64(n)
}

func (h *Hub) shard(c *conn) *shard {
	return &h.shards[maphash.Comparable(h.seed, c)%shardCount]
}

// add registers c and counts its goroutine in h.running. It returns false if the hub is closed.
func (h *Hub) add(c *conn) bool {
	s := h.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.add(c, h.now()+protocol.FirstMessageTimeout)
	h.running.Add(1)
	return true
}

func (h *Hub) remove(c *conn) {
	s := h.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
	if c.gone != nil {
		close(c.gone)
	}
}

// now returns the time on the hub's clock: the time since New, by a monotonic clock.
func (h *Hub) now() time.Duration { return time.Since(h.began) }
