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

// Sessions is what connections attach to.
type Sessions interface {
	Join(context.Context, session.Join, session.Client) (session.Attachment, error)
	// Open decrypts the key of a resume into its Claims. Its errors are those of
	// Resume.
	Open(r *session.Resume) error
	Resume(context.Context, session.Resume, session.Client) (session.Attachment, error)
}

// Access decides who may ask for a session. It is safe for concurrent use.
type Access interface {
	// Authenticate says who shows a credential; empty is none. The error is a
	// *session.Error, with CodeRateLimited if its holder asks too often.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// Admit returns how long a client at an address must wait before it may join or
	// resume; 0 admits it now.
	Admit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client who made a request, behind the
	// proxies that are trusted.
	ClientAddr(r *http.Request) netip.Addr
}

// Config is what a Hub needs. All fields are required unless they say otherwise.
type Config struct {
	Sessions Sessions
	Access   Access
	// Heartbeat is the longest time between two pings of a client, in whole seconds; with
	// short tokens it is told a shorter one. A connection that says nothing for twice
	// Heartbeat is closed, or for four times if it answers pings.
	Heartbeat time.Duration
	// JoinRate is how many joins and resumes a second are admitted. Other clients are
	// told when to come back. Zero is no limit.
	JoinRate float64
	Origins  *origin.Checker
	// Panics reports panics in the handling of a connection. Nil: they end the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	joinTimeout  = 10 * time.Second // for the first message
	writeTimeout = 5 * time.Second  // for one message to a client
)

// Limits on what one connection may send, in messages: far above what a client has reason
// for, far below what would hurt.
const (
	messagesPerSecond = 10
	messageBurst      = 50
)

// shardCount is how many parts the connections are in, so that neither a sweep nor an
// accept holds a lock for long.
const shardCount = 64

// Each connection's deadline is checked every sweepEvery, those of a few shards at a time, in
// sweeps rounds. A node that woke up for each shard by itself, 64 times a second, used 18 ms of
// processor a second with 5,000 idle connections, and 5 by four rounds.
const (
	sweepEvery = time.Second
	sweeps     = 4
)

// Hub is all of a node's connections. It is an http.Handler that upgrades.
type Hub struct {
	config       Config
	writeTimeout time.Duration // shorter in tests with real sockets
	metrics      *metrics
	began        time.Time            // zero of the hub's clock
	admission    *admission.Admission // nil: no limit
	lead         time.Duration        // how long before its deadline a connection is looked at
	seed         maphash.Seed

	running  sync.WaitGroup // connections and what they do in the background
	drainsBy atomic.Int64   // the end of the drain on the hub's clock; 0: it does not drain
	shards   [shardCount]shard
}

// New makes a Hub.
func New(c Config) (*Hub, error) {
	if c.Heartbeat < time.Second {
		return nil, errors.New("heartbeat: want at least 1s")
	}
	if !(c.JoinRate >= 0) || math.IsInf(c.JoinRate, 1) { // not NaN either
		return nil, errors.New("join-rate: want 0 (unlimited) or more")
	}
	h := &Hub{config: c, writeTimeout: writeTimeout, began: time.Now(), seed: maphash.MakeSeed(), lead: probeLead(c.Heartbeat)}
	h.metrics = newMetrics(c.Registerer, h.open)
	if c.JoinRate > 0 {
		h.admission = admission.New(c.JoinRate, spread)
	}
	return h, nil
}

// ServeHTTP upgrades a request and returns; the connection lives on.
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
	go c.serve(nil) // counted by add
}

// Run checks the liveness of connections until ctx is done.
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

// sweep checks the liveness of each connection of one shard.
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

// Close cuts all connections that are left, takes no new ones, and returns
// when every goroutine of the hub is gone.
func (h *Hub) Close() {
	for i := range h.shards {
		s := &h.shards[i]
		for _, c := range s.close() {
			c.cut(protocol.CloseGoingAway)
		}
	}
	h.running.Wait()
}

// all returns the connections there are. Each has a channel now that tells when it is gone.
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

// open is how many connections there are.
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

// add takes c in and counts its reader, unless the hub is closed.
func (h *Hub) add(c *conn) bool {
	s := h.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.add(c, h.now()+joinTimeout)
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

// now is the hub's monotonic clock.
func (h *Hub) now() time.Duration { return time.Since(h.began) }
